import { writeFileSync } from 'node:fs';
import { bundleFile, bundleOf, collectTexts } from './collect.ts';

writeFileSync(bundleFile, bundleOf(collectTexts().texts));
