const binaryUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const factors: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1024,
  kib: 1024,
  kb: 1000,
  m: 1024 ** 2,
  mib: 1024 ** 2,
  mb: 1000 ** 2,
  g: 1024 ** 3,
  gib: 1024 ** 3,
  gb: 1000 ** 3,
  t: 1024 ** 4,
  tib: 1024 ** 4,
  tb: 1000 ** 4,
};

/** A size for people: `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < binaryUnits.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${binaryUnits[unit] ?? ''}`;
}

/** Reads a size such as `8GiB`, `512M` (binary), `500MB` (decimal) or `1048576`; null when it is none. */
export function parseBytes(text: string): number | null {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text) ?? [];
  const factor = factors[(unit ?? '').toLowerCase()];
  if (digits === undefined || factor === undefined) return null;
  const bytes = Math.round(Number(digits) * factor);
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** A duration for people: `312 ms`, `4.1 s`. */
export function formatMs(ms: number): string {
  return ms < 1000 ? `${String(Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const steps = [
  { name: 'second', seconds: 1, until: 60 },
  { name: 'minute', seconds: 60, until: 3600 },
  { name: 'hour', seconds: 3600, until: 2 * 86_400 },
  { name: 'day', seconds: 86_400, until: Infinity },
];

/** How long ago, or in how long, a moment is: `3 minutes ago`, `in 7 days`. */
export function formatAge(moment: string, now: number): string {
  const seconds = Math.round((now - Date.parse(moment)) / 1000);
  const distance = Math.abs(seconds);
  const step = steps.find(({ until }) => distance < until);
  if (step === undefined || distance === 0) return 'now';
  const count = Math.round(distance / step.seconds);
  const text = `${String(count)} ${step.name}${count === 1 ? '' : 's'}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

/** The exact moment in the host's own time zone, and how long ago it is. */
export function formatMoment(moment: string, now: number): string {
  const date = new Date(moment);
  const pad = (value: number): string => String(value).padStart(2, '0');
  const day = `${String(date.getFullYear())}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? '-' : '+'}${pad(Math.floor(Math.abs(offset) / 60))}:${pad(Math.abs(offset) % 60)}`;
  return `${day} ${time} ${zone} (${formatAge(moment, now)})`;
}
