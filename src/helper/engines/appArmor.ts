import { readFile } from 'node:fs/promises';
import { nullIfMissing } from '../subvolumes/btrfs.ts';

/** All that the kernel knows, one a line: "NAME (MODE)"; see apparmor(7). For root alone. */
const PROFILES = '/sys/kernel/security/apparmor/profiles';

/**
 * Whether the kernel knows that AppArmor profile; true as well where there is no AppArmor, or no profile is asked for.
 * CRIU wakes processes under the profile that they had, and fails where it is missing. The engine loads its own when it
 * starts a container, not when it restores one: after a boot nobody has.
 */
export async function isProfileLoaded(profile: string): Promise<boolean> {
  if (profile === '' || profile === 'unconfined') return true;
  const profiles = await readFile(PROFILES, 'utf8').catch(nullIfMissing);
  return profiles === null || isListed(profiles, profile);
}

/** Whether the kernel's list has that very name. */
export function isListed(profiles: string, profile: string): boolean {
  return profiles.split('\n').some((line) => line.slice(0, line.lastIndexOf(' (')) === profile);
}
