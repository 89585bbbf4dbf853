export { type HubOptions, serveHub } from './server.ts'
