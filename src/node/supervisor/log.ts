/** Lines of a plane's log; what nobody caught goes there too instead of ending the plane. */
export function planeLog(plane: string): (line: string) => void {
  const log = (line: string) => process.stderr.write(`${new Date().toISOString()} ${plane}: ${line}\n`)
  process.on('uncaughtException', (error) => log(`uncaught: ${error.stack}`))
  process.on('unhandledRejection', (error) => log(`unhandled: ${error instanceof Error ? error.stack : error}`))
  return log
}
