/** Exit status of a daemon that found another one running (sysexits.h: EX_TEMPFAIL). */
export const ALREADY_RUNNING_STATUS = 75;
