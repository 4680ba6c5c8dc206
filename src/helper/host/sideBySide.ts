/**
 * Waits for two pieces of work that go on at the same time. When one fails, the other is not left alone: the first failure
 * is thrown once both have ended.
 */
export async function sideBySide<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === 'rejected') throw a.reason;
  if (b.status === 'rejected') throw b.reason;
  return [a.value, b.value];
}
