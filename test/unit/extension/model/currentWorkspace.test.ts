import assert from 'node:assert/strict';
import { parseAuthority } from '../../../../src/extension/model/authority.ts';
import {
  choiceOf,
  findCurrentWorkspace,
  findHostOf,
  ownHostOf,
  relate,
} from '../../../../src/extension/model/currentWorkspace.ts';
import type { KnownHost, WindowFolder } from '../../../../src/extension/model/currentWorkspace.ts';
import { momentOf, nameOf, workspace } from '../snapshots.ts';

const hex = (text: string) => Buffer.from(text).toString('hex');
const web = workspace('web', { volumes: [{ name: 'data', path: '/data', hostPath: '/srv/volumes/data' }] });
const api = workspace('api', {
  engine: { kind: 'podman', container: 'forkpoint-api', id: 'fedcba9876543210'.repeat(4) },
});
const build1: KnownHost = { id: 'build1', workspaces: [web, api] };
const build2: KnownHost = { id: 'dev@build2', workspaces: [workspace('other')] };
const notAsked: KnownHost = { id: 'build3', workspaces: null };

const local: WindowFolder = { place: { kind: 'local' }, path: '/home/me/project' };
const folder = (authority: string, path: string | null): WindowFolder => ({
  place: parseAuthority(authority),
  path,
});

function found(...args: Parameters<typeof findCurrentWorkspace>): string {
  const current = findCurrentWorkspace(...args);
  if (current.kind === 'known') return `${current.choice.name} on ${current.choice.host}, ${current.source}`;
  return current.kind === 'onHost' ? `on ${current.host}` : current.kind;
}

describe('the current workspace of a window', () => {
  it('is the one that was chosen, whatever the folder says', () => {
    const inWeb = folder('ssh-remote+build1', `${web.rootfs}/home`);
    assert.equal(found(choiceOf('build1', api), inWeb, [build1, build2]), 'api on build1, chosen');
  });

  it('is the chosen one while its host has not been asked', () => {
    assert.equal(found(choiceOf('build3', web), local, [build1, notAsked]), 'web on build3, chosen');
  });

  it('is not one that was chosen and is gone since', () => {
    assert.equal(found(choiceOf('build1', workspace('gone')), local, [build1, build2]), 'unknown');
    assert.equal(found(choiceOf('removed', web), local, [build1, build2]), 'unknown');
  });

  it('is the one whose files hold the folder of a Remote - SSH window', () => {
    assert.equal(
      found(null, folder('ssh-remote+build1', `${web.rootfs}/home/dev`), [build1, build2]),
      'web on build1, folder',
    );
    assert.equal(
      found(null, folder('ssh-remote+build1', web.rootfs), [build1, build2]),
      'web on build1, folder',
    );
  });

  it('is the one whose volume holds the folder', () => {
    const inVolume = folder(
      `ssh-remote+${hex('{"hostName":"build1","user":"dev"}')}`,
      '/srv/volumes/data/pg',
    );
    assert.equal(found(null, inVolume, [build1, build2]), 'web on build1, folder');
  });

  it('is not one whose path only begins like the folder', () => {
    assert.equal(found(null, folder('ssh-remote+build1', '/srv/volumes/data-old'), [build1]), 'unknown');
  });

  it('is the container that the window is attached to, by name', () => {
    const attached = folder(`attached-container+${hex('{"containerName":"/forkpoint-api"}')}`, '/app');
    assert.equal(found(null, attached, [build1, build2]), 'api on build1, folder');
  });

  it('is the container that the window is attached to, by a shortened id', () => {
    assert.equal(
      found(null, folder(`attached-container+${hex('fedcba987654')}`, '/app'), [build1]),
      'api on build1, folder',
    );
  });

  it('is the container of the host that the window is attached through', () => {
    const twin: KnownHost = { id: 'build2', workspaces: [web] };
    const attached = folder(
      `attached-container+${hex('{"containerName":"/forkpoint-web"}')}@ssh-remote+build2`,
      '/app',
    );
    assert.equal(found(null, attached, [build1, twin]), 'web on build2, folder');
  });

  it('is not guessed when two hosts have a container of that name', () => {
    const twin: KnownHost = { id: 'build2', workspaces: [web, api] };
    const attached = folder(`attached-container+${hex('{"containerName":"/forkpoint-web"}')}`, '/app');
    assert.equal(found(null, attached, [build1, twin]), 'unknown');
  });

  it('is the workspace that the SSH alias is named after', () => {
    assert.equal(
      found(null, folder('ssh-remote+forkpoint-web', '/app'), [build1, build2]),
      'web on build1, folder',
    );
  });

  it('is on the own host of a Remote - SSH window that has not been asked', () => {
    assert.equal(found(null, folder('ssh-remote+build3', '/anywhere'), [build1, notAsked]), 'on build3');
  });

  it('is the only one there is', () => {
    assert.equal(found(null, local, [build2]), 'other on dev@build2, only');
  });

  it('stays the only one beside its forks', () => {
    const origin = {
      workspace: web.id,
      name: 'web',
      snapshot: nameOf(0),
      forkIndex: 1,
      at: momentOf(0),
    };
    const host: KnownHost = { id: 'build1', workspaces: [web, workspace('try', { origin })] };
    assert.equal(found(null, local, [host]), 'web on build1, only');
  });

  it('is not the only one known while another host has not been asked', () => {
    assert.equal(found(null, local, [build2, notAsked]), 'unknown');
  });

  it('is on the only host while that has not been asked', () => {
    assert.equal(found(null, local, [notAsked]), 'on build3');
  });

  it('is unknown where there are several', () => {
    assert.equal(found(null, local, [build1]), 'unknown');
    assert.equal(found(null, local, []), 'unknown');
  });
});

describe('a folder and a workspace', () => {
  it('are joined through files on the host, or from the inside', () => {
    assert.equal(relate(folder('ssh-remote+build1', `${web.rootfs}/etc`), 'build1', web), 'hostFiles');
    assert.equal(relate(folder('ssh-remote+forkpoint-web', '/app'), 'build1', web), 'inside');
    assert.equal(
      relate(folder(`attached-container+${hex('/forkpoint-web')}`, '/app'), 'build1', web),
      'inside',
    );
    assert.equal(relate(folder('ssh-remote+build1', '/home/dev'), 'build1', web), null);
    assert.equal(relate(folder('ssh-remote+build2', web.rootfs), 'build1', web), null);
    assert.equal(relate(local, 'build1', web), null);
  });
});

describe('the own host of a window', () => {
  it('is spelled as the settings would spell it', () => {
    assert.equal(ownHostOf(parseAuthority('ssh-remote+build1')), 'build1');
    assert.equal(ownHostOf(parseAuthority('ssh-remote+dev@build1:2222')), 'dev@build1:2222');
    assert.equal(ownHostOf(parseAuthority('ssh-remote+[fd00::1]:22')), '[fd00::1]:22');
    assert.equal(ownHostOf(parseAuthority('wsl+Ubuntu')), null);
    assert.equal(ownHostOf(parseAuthority('')), null);
  });

  it('is found among those of the settings however they spell it', () => {
    assert.equal(findHostOf(parseAuthority('ssh-remote+BUILD2'), [build1, build2])?.id, 'dev@build2');
    assert.equal(findHostOf(parseAuthority('ssh-remote+root@build2'), [build1, build2]), undefined);
  });
});
