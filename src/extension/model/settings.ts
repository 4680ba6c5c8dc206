import { ConfigurationTarget, workspace } from 'vscode';
import type { Event } from 'vscode';

/** The settings of Forkpoint, as the manifest describes them. */
export class Settings {
  /** A setting of ours changed. */
  readonly onDidChange: Event<void> = (listener) =>
    workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration('forkpoint')) listener();
    });

  /** Hosts as the user spells them; what isn't text is left out. */
  get hosts(): readonly string[] {
    const value = this.read('hosts');
    if (!Array.isArray(value)) return [];
    const names = value.filter((entry): entry is string => typeof entry === 'string' && entry.trim() !== '');
    return [...new Set(names.map((name) => name.trim()))];
  }

  async setHosts(hosts: readonly string[]): Promise<void> {
    await workspace.getConfiguration('forkpoint').update('hosts', hosts, ConfigurationTarget.Global);
  }

  get sshClient(): 'auto' | 'ssh2' | 'openssh' {
    const value = this.read('sshClient');
    return value === 'ssh2' || value === 'openssh' ? value : 'auto';
  }

  /** An SSH configuration file in place of the user's own; undefined for that. */
  get sshConfigFile(): string | undefined {
    return this.text('sshConfigFile') || undefined;
  }

  get savesBeforeSnapshot(): boolean {
    return this.read('saveBeforeSnapshot') !== false;
  }

  get beforeAiAlias(): string {
    return this.text('beforeAi.alias') || 'before-ai-{task}-{date}';
  }

  get beforeAiTask(): 'auto' | 'branch' | 'file' {
    const value = this.read('beforeAi.task');
    return value === 'branch' || value === 'file' ? value : 'auto';
  }

  /** Days; null for no expiry. */
  get beforeAiExpiryDays(): number | null {
    const value = this.read('beforeAi.expiryDays');
    if (typeof value !== 'number' || !Number.isFinite(value)) return 7;
    return value > 0 ? value : null;
  }

  private text(key: string): string {
    const value = this.read(key);
    return typeof value === 'string' ? value.trim() : '';
  }

  private read(key: string): unknown {
    return workspace.getConfiguration('forkpoint').get(key);
  }
}
