import { resolve } from 'node:path'

/** What set-up fetches or builds, keyed by SHA-256; git-ignored, shared by all homes of this checkout. */
export const CACHE = resolve(import.meta.dirname, '../../.cache')
