import { l10n, window } from 'vscode';
import type { MessageItem } from 'vscode';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Safety } from '../../protocol/operations.ts';
import { failureText } from '../views/failures.ts';
import { safetyQuestion } from '../views/lossText.ts';
import { sizeText } from '../views/measures.ts';
import type { Outcome } from '../views/operations.ts';

/**
 * Replaces the state of a workspace; where the host wants a decision about what is kept of it, asks for that and goes
 * on. Undefined: the user decided not to.
 * @param workspace name of the one whose state is replaced
 * @param attempt replaces it with those choices
 */
export async function withSafetyChoices<T>(
  workspace: string,
  attempt: (safety: Safety, cold: boolean) => Promise<Outcome<T>>,
): Promise<Outcome<T> | undefined> {
  let safety: Safety = 'auto';
  let cold = false;
  for (;;) {
    const outcome = await attempt(safety, cold);
    if (outcome.kind !== 'failed' || !(outcome.error instanceof ForkpointError)) return outcome;
    const { error } = outcome;
    if (error.code === 'safety.choiceNeeded' && safety === 'auto') {
      const choice = await askForSafety(workspace, error);
      if (choice === undefined) return undefined;
      safety = choice;
    } else if ((error.code === 'snapshot.incompatible' || error.code === 'snapshot.memoryDamaged') && !cold) {
      const { message, next } = failureText(error);
      const answer = await ask(message, next, [{ title: l10n.t('Restore Files Only') }]);
      if (answer === undefined) return undefined;
      cold = true;
    } else if (error.code === 'checkpoint.impossible' && safety === 'stateful') {
      const choice = await askForSafety(
        workspace,
        new ForkpointError(error.code, { ...error.args, bytes: 0 }),
      );
      if (choice === undefined) return undefined;
      safety = choice;
    } else {
      return outcome;
    }
  }
}

/** A modal question; Cancel and Escape answer undefined. */
export async function ask<T extends MessageItem>(
  message: string,
  detail: string,
  choices: readonly T[],
): Promise<T | undefined> {
  return window.showWarningMessage(message, { modal: true, detail }, ...choices);
}

async function askForSafety(workspace: string, error: ForkpointError): Promise<Safety | undefined> {
  const { reason, bytes } = error.args;
  // Without a size the processes can't be kept at all.
  const size = typeof bytes === 'number' ? bytes : 0;
  const question = safetyQuestion(l10n, workspace, String(reason ?? ''), size > 0);
  const choices: (MessageItem & { readonly safety: Safety })[] = [
    { title: l10n.t('Keep Files Only'), safety: 'stateless' },
    { title: l10n.t('Keep Nothing'), safety: 'none' },
  ];
  if (size > 0)
    choices.unshift({ title: l10n.t('Keep Processes Too ({0})', sizeText(size)), safety: 'stateful' });
  return (await ask(question.message, question.detail, choices))?.safety;
}
