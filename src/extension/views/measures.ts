import type { Translator } from './translator.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** "3 minutes ago". A moment in the future, as a clock that is off makes one, counts as just now. */
export function ageText(l10n: Translator, moment: string, now: number): string {
  const elapsed = now - Date.parse(moment);
  if (elapsed < MINUTE) return l10n.t('just now');
  return l10n.t('{0} ago', durationText(l10n, elapsed));
}

/** "3 minutes", in the largest unit that leaves at least one; at most years. */
export function durationText(l10n: Translator, ms: number): string {
  if (ms < MINUTE)
    return counted(Math.max(1, Math.floor(ms / SECOND)), l10n.t('1 second'), (n) => l10n.t('{0} seconds', n));
  if (ms < HOUR) return counted(Math.floor(ms / MINUTE), l10n.t('1 minute'), (n) => l10n.t('{0} minutes', n));
  if (ms < DAY) return counted(Math.floor(ms / HOUR), l10n.t('1 hour'), (n) => l10n.t('{0} hours', n));
  if (ms < 14 * DAY) return counted(Math.floor(ms / DAY), l10n.t('1 day'), (n) => l10n.t('{0} days', n));
  if (ms < 60 * DAY)
    return counted(Math.floor(ms / (7 * DAY)), l10n.t('1 week'), (n) => l10n.t('{0} weeks', n));
  if (ms < 365 * DAY)
    return counted(Math.floor(ms / (30 * DAY)), l10n.t('1 month'), (n) => l10n.t('{0} months', n));
  return counted(Math.floor(ms / (365 * DAY)), l10n.t('1 year'), (n) => l10n.t('{0} years', n));
}

/** "in 5 hours", for what comes; "soon" within a minute, and for what is due. */
export function untilText(l10n: Translator, moment: string, now: number): string {
  const left = Date.parse(moment) - now;
  // What was set to 7 days a moment ago is due in 7 days, not in 6 and some hours.
  return left < MINUTE ? l10n.t('soon') : l10n.t('in {0}', durationText(l10n, left + MINUTE / 2));
}

/** "0.4 s" below ten seconds, then whole ones; "85 ms" below a tenth of one. */
export function elapsedText(ms: number): string {
  if (ms < 100) return `${String(Math.round(ms))} ms`;
  return ms < 10_000 ? `${(ms / SECOND).toFixed(1)} s` : `${String(Math.round(ms / SECOND))} s`;
}

/** Sizes as the editor shows them: "512B", "3.20MB" (of 1024). */
export function sizeText(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? String(value) : value.toFixed(2)}${units[unit] ?? ''}`;
}

/** Picks the singular text for one. */
export function counted(count: number, one: string, many: (count: number) => string): string {
  return count === 1 ? one : many(count);
}
