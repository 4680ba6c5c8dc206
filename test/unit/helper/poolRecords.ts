import { WorkspaceIdSchema } from '../../../src/protocol/names.ts';

/** The workspace of these records. */
export const id = WorkspaceIdSchema.parse('ws-0123456789ab');

/** A `workspace.json`. */
export const workspaceRecord = {
  schema: 1,
  id,
  name: 'web',
  createdAt: '2026-01-01T00:00:00.000Z',
  head: 'snap-20260103-000000',
  generation: 0,
  undo: null,
  engine: { kind: 'podman', container: 'forkpoint-web', id: '', runtime: 'runc' },
  spec: {
    hostname: 'web',
    address: '10.209.0.16',
    mac: '02:00:00:00:00:01',
    command: [],
    env: {},
    user: '',
    workingDirectory: '',
    shmBytes: 0,
    volumes: [{ name: 'data', path: '/data' }],
    published: [],
  },
  lazy: null,
};

/** A `snapshot.json`. */
export function snapshotRecord(name: string, parent: string | null): Record<string, unknown> {
  return {
    schema: 1,
    workspace: id,
    name,
    alias: null,
    note: null,
    createdAt: `2026-01-0${name.slice(12, 13)}T00:00:00.000Z`,
    expiresAt: null,
    parent,
    protected: false,
    stateful: true,
    statelessReason: null,
    kind: 'manual',
    freezeMs: 1,
    totalMs: 1,
    memoryBytes: 5,
    exclusiveBytes: null,
    changedFiles: null,
    capture: {
      kept: [],
      leftOut: [],
      listeners: [],
      outsideConnections: [],
      volumes: [],
      nestedSubvolumes: [],
      otherMounts: [],
    },
    durable: true,
    parts: ['rootfs', 'volumes/data'],
    nested: [],
    images: [{ name: 'a.img', bytes: 5 }],
    imageOrigin: null,
    addresses: [],
    bootId: 'boot',
    added: 'by a later version',
  };
}
