import { env, workspace } from 'vscode';
import { parseAuthority } from './authority.ts';
import type { WindowFolder } from './currentWorkspace.ts';

/** The folder of this window, and where it is. */
export function readWindowFolder(): WindowFolder {
  const uris = [...(workspace.workspaceFolders ?? []).map((folder) => folder.uri), workspace.workspaceFile];
  const remote = uris.find((uri) => uri?.scheme === 'vscode-remote');
  if (remote !== undefined) return { place: parseAuthority(remote.authority), path: remote.path };
  const local = uris.find((uri) => uri?.scheme === 'file');
  // A remote window without a folder tells only what kind of remote it has.
  return {
    place: env.remoteName === undefined ? { kind: 'local' } : { kind: 'elsewhere', remote: env.remoteName },
    path: local?.path ?? null,
  };
}
