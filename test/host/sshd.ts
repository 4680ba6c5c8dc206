import type { TestHost } from './machine/machine.ts';

/** Settings of a host's sshd for tests; what comes first in its configuration wins. */
export const sshdSettings = '/etc/ssh/sshd_config.d/00-ssh-test.conf';

/** Starts a host's sshd anew with further settings, one a line. */
export async function restartSshd(host: TestHost, settings: readonly string[] = []): Promise<void> {
  // sshd 9.8 and newer shuts out an address that gave wrong passwords or whose sessions crashed, which tests do.
  const lines = ['PerSourcePenalties no', ...settings].map((line) => `${line}\n`).join('');
  // Not by a signal: right after its start a SIGHUP would end it. A whole machine is reached through an sshd session itself.
  await host.run(
    [
      'sh',
      '-c',
      `cat >${sshdSettings}
      [ ! -d /run/systemd/system ] || exec systemctl restart ssh.service
      pkill -o sshd; while pgrep sshd; do sleep 0.05; done
      /usr/sbin/sshd -E /var/log/sshd.log </dev/null >/dev/null 2>&1`,
    ],
    { input: lines },
  );
}

/** Ends the sshd processes of all sessions, as a broken network would end the connections. */
export async function cutSessions(host: TestHost, signal = 'KILL'): Promise<void> {
  await host.exec(['pkill', `-${signal}`, '-f', '^sshd(-session)?: (dev|pat)']);
}
