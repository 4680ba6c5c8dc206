import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { HostProblemError } from '../../../../src/extension/hosts/problems.ts';
import { oneAtATime } from '../../../../src/extension/hosts/prompts.ts';
import type { Answer, Prompts } from '../../../../src/extension/hosts/prompts.ts';
import { Questions } from '../../../../src/extension/hosts/questions.ts';

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** A user who answers each question with `answer`, and how often he was asked. */
function user(answer: Answer | undefined): { prompts: Prompts; asked: string[]; mostAtOnce: () => number } {
  const asked: string[] = [];
  let open = 0;
  let most = 0;
  const ask =
    <T>(what: string, given: T) =>
    async (): Promise<T> => {
      asked.push(what);
      open += 1;
      most = Math.max(most, open);
      await sleep(5);
      open -= 1;
      return given;
    };
  return {
    asked,
    mostAtOnce: () => most,
    prompts: {
      password: ask('password', answer),
      passphrase: ask('passphrase', answer),
      sudoPassword: ask('sudoPassword', answer),
      serverQuestions: ask('serverQuestions', answer && [answer.text]),
      unknownHostKey: ask('unknownHostKey', answer && true),
      mayInstall: ask('mayInstall', answer && true),
      notice: ask('notice', undefined),
    },
  };
}

function storage(): Map<string, string> & { store: (key: string, value: string) => Promise<void> } {
  const map = new Map<string, string>();
  return Object.assign(map, {
    store: (key: string, value: string) => {
      map.set(key, value);
      return Promise.resolve();
    },
  });
}

function questions(
  prompts: Prompts,
  kept = storage(),
  isInteractive = true,
  signal = new AbortController().signal,
): Questions {
  const secrets = {
    get: (key: string) => Promise.resolve(kept.get(key)),
    store: kept.store,
    delete: (key: string) => {
      kept.delete(key);
      return Promise.resolve();
    },
  };
  return new Questions({ host: 'box', isInteractive, signal, prompts, secrets, log: silent });
}

const password = { kind: 'password', user: 'dev', who: 'dev@box' } as const;

describe('questions', () => {
  it('H36 five windows and three hosts ask one question at a time', async () => {
    const { prompts, asked, mostAtOnce } = user({ text: 'x', remember: false });
    const inTurn = oneAtATime(prompts);
    await Promise.all(Array.from({ length: 5 }, () => questions(inTurn).secret(password, 1)));
    assert.equal(asked.length, 5);
    assert.equal(mostAtOnce(), 1);
  });

  it('H36 a question whose attempt ended meanwhile is not asked any more', async () => {
    const { prompts, asked } = user({ text: 'x', remember: false });
    const inTurn = oneAtATime(prompts);
    const attempt = new AbortController();
    const first = questions(inTurn).secret(password, 1);
    const second = questions(inTurn, storage(), true, attempt.signal).secret(password, 1);
    attempt.abort();
    await first;
    await assert.rejects(second, (error) => error instanceof HostProblemError && error.code === 'cancelled');
    assert.equal(asked.length, 1);
  });

  it('H36 nothing is asked without a gesture', async () => {
    const { prompts, asked } = user({ text: 'x', remember: false });
    const quiet = questions(prompts, storage(), false);
    const needs = (error: unknown): boolean =>
      error instanceof HostProblemError && error.code === 'needsGesture';
    await assert.rejects(quiet.secret(password, 1), needs);
    await assert.rejects(
      quiet.unknownHostKey({ knownAs: 'box', keyType: 'RSA', fingerprint: 'SHA256:x' }),
      needs,
    );
    await assert.rejects(quiet.mayInstall({ reason: 'missing', isNeeded: true }), needs);
    await assert.rejects(quiet.notice('touch it', new AbortController().signal), needs);
    assert.deepEqual(asked, []);
  });

  it('H36 Cancel ends the attempt', async () => {
    const { prompts } = user(undefined);
    await assert.rejects(
      questions(prompts).secret(password, 1),
      (error) => error instanceof HostProblemError && error.code === 'cancelled',
    );
  });

  it('keep a secret only when the user says so, and only once it has let the connection through', async () => {
    const kept = storage();
    const forgetful = questions(user({ text: 'secret', remember: false }).prompts, kept);
    await forgetful.secret(password, 1);
    await forgetful.keep();
    assert.equal(kept.size, 0);

    const mindful = questions(user({ text: 'secret', remember: true }).prompts, kept);
    await mindful.secret(password, 1);
    assert.equal(kept.size, 0);
    await mindful.keep();
    assert.ok([...kept.values()].includes('secret'));

    const later = questions(user(undefined).prompts, kept, false);
    assert.equal(await later.secret(password, 1), 'secret');
    assert.equal(await later.remembersAny(), true);
  });

  it('forget a remembered secret that was refused, and ask', async () => {
    const kept = storage();
    const first = questions(user({ text: 'old', remember: true }).prompts, kept);
    await first.secret(password, 1);
    await first.keep();
    const { prompts, asked } = user({ text: 'new', remember: false });
    const second = questions(prompts, kept);
    assert.equal(await second.secret(password, 1), 'old');
    assert.equal(await second.secret(password, 2), 'new');
    assert.deepEqual(asked, ['password']);
    assert.ok(![...kept.values()].includes('old'));
  });

  it('limits of time stand still while the user thinks', async () => {
    const { prompts } = user({ text: 'x', remember: false });
    const slow: Prompts = { ...prompts, password: () => sleep(120, { text: 'x', remember: false }) };
    const asking = questions(slow);
    const answer = await asking.patience.within(60, asking.secret(password, 1), () => new Error('too late'));
    assert.equal(answer, 'x');
    await assert.rejects(
      asking.patience.within(20, sleep(500), () => new Error('too late')),
      /too late/,
    );
  });
});
