// Builds forkpoint.vsix, or the file that is named: the same bytes from the same sources, wherever and whenever.
import { chmod } from 'node:fs/promises';
import { createVSIX, listFiles, PackageManager } from '@vscode/vsce';
import './esbuild.mjs';

// A ZIP file holds local times and modes: vsce takes the time from here, in seconds (1980-01-01, the first that ZIP has).
process.env['SOURCE_DATE_EPOCH'] = '315532800';
process.env['TZ'] = 'UTC';
for (const file of await listFiles({ packageManager: PackageManager.None })) await chmod(file, 0o644);

await createVSIX({ packagePath: process.argv[2] ?? 'forkpoint.vsix', dependencies: false });
