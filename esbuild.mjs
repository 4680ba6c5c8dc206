// Builds the programs: dist/helper.cjs (one file for the host), dist/extension.js and dist/ssh2.js.
import { existsSync } from 'node:fs';
import * as esbuild from 'esbuild';

const watch = process.argv.includes('--watch');

/** @type {esbuild.BuildOptions} */
const common = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  minify: true,
  sourcemap: false,
  legalComments: 'none',
  logLevel: 'warning',
  // esbuild picks "main" (UMD) builds for CommonJS output unless told; the ESM ones can be tree-shaken.
  mainFields: ['module', 'main'],
};

const builds = [
  // Debian 12 hosts run Node 18.19.
  {
    ...common,
    entryPoints: ['src/helper/main.ts'],
    outfile: 'dist/helper.cjs',
    target: 'node18.19',
    keepNames: true,
  },
  {
    ...common,
    entryPoints: ['src/extension/extension.ts'],
    outfile: 'dist/extension.js',
    target: 'node20',
    external: ['vscode', './ssh2.js'],
  },
  // Loaded when the first host needs it. Its native parts are optional: without them it uses node:crypto.
  {
    ...common,
    entryPoints: ['src/extension/hosts/ssh2Bundle.ts'],
    outfile: 'dist/ssh2.js',
    target: 'node20',
    external: ['cpu-features', '*.node'],
  },
].filter((build) => existsSync(build.entryPoints[0]));

for (const options of builds) {
  if (watch) await (await esbuild.context(options)).watch();
  else await esbuild.build(options);
}
