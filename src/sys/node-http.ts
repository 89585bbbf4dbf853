/**
 * node:http. Imported as a module it loads all it may ever need, a WebSocket client included: 40 ms at the start of a program and 4 MB
 * for as long as it runs.
 */
export const http = () => process.getBuiltinModule('node:http')
