import { visible } from '../../protocol/visible.ts';

/**
 * Makes text of a host or container fit for notifications and input boxes. There `[words](command:…)` is a link that runs
 * any command of the editor (LINK_REGEX in vs/base/common/linkedText.ts, allowCommands in vs/workbench/browser/parts/
 * notifications/notificationsViewer.ts and vs/platform/quickinput/browser/quickInputService.ts).
 */
export function hostText(text: string): string {
  return visible(text).replaceAll('](', '] (');
}

/** Makes text that a host may have sent fit for the log: its further lines are indented, so that none looks like one of ours. */
export function hostLines(text: string): string {
  return text
    .split('\n')
    .map((line) => visible(line.replace(/\r$/, '')))
    .join('\n    ');
}
