import type { ApiVerb } from './httpAccess.ts';
import type { OperationName } from './operations.ts';

/** Where all paths of the HTTP API begin. */
export const API_BASE = '/api/v1';

/** The methods that the API has. */
export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

/** How HTTP spells one operation of the table. */
export interface Route {
  readonly method: Method;
  /** Below {@link API_BASE}; `{parameter}` is one of the operation's. */
  readonly path: string;
  readonly operation: OperationName;
  /** What a token must allow. */
  readonly verb: ApiVerb;
  /** Where a method and path have several routes: the field of the body that chooses this one. */
  readonly chosenBy?: {
    readonly field: string;
    /** Chosen by this value, which is no parameter of the operation; otherwise by the field's presence. */
    readonly value?: string;
  };
  /** JSON names of parameters that are called otherwise than by their name in snake_case. */
  readonly names?: Readonly<Record<string, string>>;
  /** Parameters that touch the host: `manage` is needed to give them. */
  readonly managed?: readonly string[];
  /** It makes something: where that is, `{…}` taken from the JSON of the result. */
  readonly location?: string;
}

const CONTAINERS = '/containers';
const CONTAINER = '/containers/{container}';
const SNAPSHOTS = '/containers/{container}/snapshots';
const SNAPSHOT = '/containers/{container}/snapshots/{name}';

/** The routes of the HTTP API. Parameters, results and descriptions come from the table of operations. */
export const routes: readonly Route[] = [
  { method: 'GET', path: CONTAINERS, operation: 'containers/list', verb: 'list' },
  {
    method: 'POST',
    path: CONTAINERS,
    operation: 'containers/create',
    verb: 'manage',
    location: '/containers/{id}',
  },
  { method: 'GET', path: CONTAINER, operation: 'containers/show', verb: 'list' },
  {
    method: 'PATCH',
    path: CONTAINER,
    operation: 'containers/start',
    verb: 'manage',
    chosenBy: { field: 'state', value: 'running' },
  },
  {
    method: 'PATCH',
    path: CONTAINER,
    operation: 'containers/stop',
    verb: 'manage',
    chosenBy: { field: 'state', value: 'stopped' },
  },
  {
    method: 'PATCH',
    path: CONTAINER,
    operation: 'containers/project',
    verb: 'manage',
    chosenBy: { field: 'project_id' },
    names: { project: 'project_id' },
  },
  { method: 'DELETE', path: CONTAINER, operation: 'containers/delete', verb: 'delete' },
  {
    method: 'POST',
    path: `${CONTAINER}/copy`,
    operation: 'containers/copy',
    verb: 'copy',
    names: { snapshot: 'source_snapshot', targetProject: 'target_project_id' },
    managed: ['publish'],
    location: '/containers/{0.workspace.id}',
  },
  { method: 'GET', path: SNAPSHOTS, operation: 'snapshots/list', verb: 'list' },
  {
    method: 'POST',
    path: SNAPSHOTS,
    operation: 'snapshots/create',
    verb: 'create',
    location: '/containers/{container}/snapshots/{snapshot.name}',
  },
  { method: 'GET', path: SNAPSHOT, operation: 'snapshots/show', verb: 'list' },
  { method: 'PATCH', path: SNAPSHOT, operation: 'snapshots/restore', verb: 'restore' },
  { method: 'DELETE', path: SNAPSHOT, operation: 'snapshots/delete', verb: 'delete' },
  { method: 'GET', path: `${SNAPSHOT}/preview`, operation: 'snapshots/preview', verb: 'list' },
];
