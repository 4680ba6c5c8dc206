/**
 * Compares two versions as Semantic Versioning 2.0.0 § 11 orders them (`1.2.3-beta` comes before `1.2.3`).
 * @returns less than 0 when `a` is older, more than 0 when it is newer, 0 when neither
 */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parse(a), parse(b)];
  return compareLists(left.numbers, right.numbers) || comparePrereleases(left.prerelease, right.prerelease);
}

type Identifier = number | string;

function parse(version: string): { numbers: Identifier[]; prerelease: Identifier[] } {
  const [withoutBuild = ''] = version.replace(/^v/, '').split('+');
  const [numbers = '', ...prerelease] = withoutBuild.split('-');
  return { numbers: identifiers(numbers), prerelease: identifiers(prerelease.join('-')) };
}

function identifiers(text: string): Identifier[] {
  return text === '' ? [] : text.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

function comparePrereleases(a: Identifier[], b: Identifier[]): number {
  // A version without a prerelease is the finished one.
  if (a.length === 0 || b.length === 0) return b.length - a.length;
  return compareLists(a, b);
}

function compareLists(a: Identifier[], b: Identifier[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const [left, right] = [a[index], b[index]];
    if (left === right) continue;
    if (left === undefined) return -1;
    if (right === undefined) return 1;
    if (typeof left === 'number' && typeof right === 'number') return left - right;
    if (typeof left !== typeof right) return typeof left === 'number' ? -1 : 1;
    return left < right ? -1 : 1;
  }
  return 0;
}
