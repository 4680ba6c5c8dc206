import type { WorkspaceRecord } from '../catalogue/records.ts';
import { ROOTFS, volumePart } from '../catalogue/layout.ts';
import type { ContainerPaths } from '../engines/engine.ts';
import type { Parts } from './parts.ts';

/** The paths that the engine's container of a workspace is made with. */
export function containerPaths(parts: Parts, workspace: WorkspaceRecord): ContainerPaths {
  return {
    rootfs: parts.layout.livePart(workspace.id, ROOTFS),
    volumes: workspace.spec.volumes.map(({ name, path }) => ({
      hostPath: parts.layout.livePart(workspace.id, volumePart(name)),
      path,
    })),
    optionFile: parts.layout.optionFile(workspace.id),
    seccompProfile: parts.assets.seccompProfile,
  };
}
