/** The engine says on each call that cgroup v1 is deprecated; that is not the user's business here. */
export const PODMAN_ENVIRONMENT = { PODMAN_IGNORE_CGROUPSV1_WARNING: '1' };
