export { CACHE } from './cache.ts'
