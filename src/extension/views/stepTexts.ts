import type { Translator } from './translator.ts';

/**
 * What the host is doing, in words. A step that is over before it can be read, or that a newer helper knows, has none.
 * @param step as the helper names it in its progress
 */
export function stepText(l10n: Translator, step: string): string {
  switch (step) {
    case 'wait':
      return l10n.t('waiting for what runs there');
    case 'verify':
      return l10n.t('checking the snapshot');
    case 'files':
      return l10n.t('copying the files');
    case 'start':
      return l10n.t('starting');
    case 'stop':
      return l10n.t('stopping');
    case 'flush':
      return l10n.t('writing the files out');
    case 'pre-dump':
      return l10n.t('copying memory ahead');
    case 'freeze':
    case 'dump':
      return l10n.t('keeping processes and memory');
    case 'join':
    case 'sync':
      return l10n.t('writing the snapshot to disk');
    case 'kill':
    case 'settle':
      return l10n.t('ending the processes of now');
    case 'swap':
      return l10n.t('putting the files in place');
    case 'wake':
      return l10n.t('waking the processes');
    case 'connections':
      return l10n.t('closing connections to the outside');
    case 'allocate':
      return l10n.t('allocating the pool');
    case 'format':
    case 'mount':
      return l10n.t('preparing the pool');
    default:
      return '';
  }
}
