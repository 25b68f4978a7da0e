// node bundle.mjs FILE: writes FILE and what it imports to the output, for a browser.
import { build } from 'esbuild'

const out = await build({ entryPoints: [process.argv[2]], bundle: true, write: false, format: 'iife', platform: 'browser', logLevel: 'error' })
process.stdout.write(out.outputFiles[0].text)
