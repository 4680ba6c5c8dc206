/** What the placeholders of an alias template stand for. */
export interface AliasParts {
  /** What is being worked on; empty when nothing tells. */
  readonly task: string;
  readonly workspace: string;
  /** The user's local time. */
  readonly at: Date;
}

/** Longest alias the template may make: leaves room for the number that the host adds to a taken one. */
const LONGEST = 58;

/**
 * Fills `{task}`, `{date}` (2026-03-04), `{time}` (1430) and `{workspace}` in and makes an alias of the result: what a name
 * can't hold becomes `-`, and an empty part leaves no doubled `-` behind.
 */
export function fillAliasTemplate(template: string, parts: AliasParts): string {
  const date = [
    digits(parts.at.getFullYear(), 4),
    digits(parts.at.getMonth() + 1, 2),
    digits(parts.at.getDate(), 2),
  ].join('-');
  const time = `${digits(parts.at.getHours(), 2)}${digits(parts.at.getMinutes(), 2)}`;
  const values: Readonly<Record<string, string>> = { date, time, workspace: parts.workspace };
  const withoutTask = template.replace(
    /\{(date|time|workspace)\}/g,
    (whole, name: string) => values[name] ?? whole,
  );
  // The task alone gives way when the whole is too long: the date at the end tells snapshots apart.
  const room = LONGEST - toName(withoutTask.replaceAll('{task}', '')).length - 1;
  const task = trimDashes(toName(parts.task).slice(0, Math.max(room, 0)));
  const alias = trimDashes(toName(withoutTask.replaceAll('{task}', task)).slice(0, LONGEST));
  return alias === '' ? `before-ai-${date}` : alias;
}

function toName(text: string): string {
  return text
    .normalize('NFKD')
    .replace(/\p{Mark}/gu, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/-{2,}/g, '-')
    .replace(/^[-.]+/, '');
}

function trimDashes(text: string): string {
  return text.replace(/^[-.]+|[-.]+$/g, '');
}

function digits(value: number, length: number): string {
  return String(value).padStart(length, '0');
}
