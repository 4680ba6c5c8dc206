import type { TestHost } from './machine/machine.ts';

/** A host of namespaces has none of the loop devices in its /dev that mount(8) wants. */
export async function provideLoopDevices(host: TestHost): Promise<void> {
  const control = 'test -e /dev/loop-control || mknod /dev/loop-control c 10 237';
  const devices = 'for i in $(seq 0 63); do test -e /dev/loop$i || mknod /dev/loop$i b 7 $i; done';
  await host.run(['sh', '-c', `${control}; ${devices}`]);
}
