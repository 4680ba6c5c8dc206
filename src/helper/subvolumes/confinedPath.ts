import { lstat, readlink } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import { nullIfMissing } from './btrfs.ts';

/** As many links are followed as the kernel would (path_resolution(7)). */
const MAXIMUM_LINKS = 40;

/**
 * Where `inner` leads for a program whose root directory is `root`: component by component, so that no link, no ".." and no
 * absolute target leaves it (H25, H52). Sound only where nothing can change the tree meanwhile: a clone that nothing runs
 * in yet, a read-only snapshot. What is missing is taken literally.
 */
export async function confinedPath(root: string, inner: string): Promise<string> {
  let pending = inner.split('/');
  let at: string[] = [];
  let links = 0;
  for (let component = pending.shift(); component !== undefined; component = pending.shift()) {
    if (component === '' || component === '.') continue;
    if (component === '..') {
      at.pop();
      continue;
    }
    const here = path.join(root, ...at, component);
    const target = await readLink(here);
    if (target === null) {
      at.push(component);
      continue;
    }
    links += 1;
    if (links > MAXIMUM_LINKS) {
      throw new ForkpointError('source.invalid', {
        source: root,
        problem: `"${inner}" leads through too many links`,
      });
    }
    if (target.startsWith('/')) at = [];
    pending = [...target.split('/'), ...pending];
  }
  return path.join(root, ...at);
}

/** Where a link leads; null for all that is no link. */
async function readLink(file: string): Promise<string | null> {
  const facts = await lstat(file).catch(nullIfMissing);
  return facts?.isSymbolicLink() === true ? readlink(file) : null;
}
