import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { failureText } from './failureText.ts';
import type { Log } from './log.ts';
import { WhileAny } from './whileAny.ts';

/**
 * Has the kernel end RCU's grace periods at once, not when every processor has come by: what they wait for is interrupted
 * (Documentation/admin-guide/kernel-parameters.txt, rcupdate.rcu_expedited; the kernel does the same by itself while it
 * suspends, kernel/rcu/tree_stall.h, rcu_pm_notify). Setting up and taking down a network, each rule of the firewall and
 * each process that is moved to a control group waits for one or more of them, some 10 to 20 ms each.
 */
const SWITCH = '/sys/kernel/rcu_expedited';

/** The kernel's grace periods, short for as long as somebody waits for a snapshot or a restore. */
export class GracePeriods {
  private readonly wanted = new WhileAny(
    () => this.attempt(() => this.switchOn()),
    () => this.attempt(() => this.switchOff()),
  );
  /** It was switched on here, and so is to be switched off here. */
  private isOurs = false;

  /**
   * @param note a file that is there while the switch is on because of us, for the daemon that comes after a crash
   */
  constructor(
    private readonly note: string,
    private readonly log: Log,
    private readonly switchFile = SWITCH,
  ) {}

  /** Keeps them short while `work` goes on. Without any effect where the kernel has no such switch, or lets nobody use it. */
  shortened<T>(work: () => Promise<T>): Promise<T> {
    return this.wanted.during(work);
  }

  /** Switches off what a daemon that was killed has left switched on. */
  recover(): void {
    this.isOurs = existsSync(this.note);
    this.attempt(() => this.switchOff());
  }

  private switchOn(): void {
    // Somebody who wants it so for good is left alone.
    if (readFileSync(this.switchFile, 'utf8').trim() !== '0') return;
    writeFileSync(this.note, '', { mode: 0o600 });
    this.isOurs = true;
    writeFileSync(this.switchFile, '1');
  }

  private switchOff(): void {
    if (!this.isOurs) return;
    writeFileSync(this.switchFile, '0');
    this.isOurs = false;
    rmSync(this.note, { force: true });
  }

  private attempt(change: () => void): void {
    try {
      change();
    } catch (error) {
      this.log.debug(`grace periods are left as they are: ${failureText(error)}`);
    }
  }
}
