import { ZosError } from '#codec'

/** $ZOS_PASSPHRASE, or asked on the terminal without showing it. */
export function passphrase(what: string): Promise<string> {
  const given = process.env.ZOS_PASSPHRASE
  if (given !== undefined) return Promise.resolve(given)
  const { stdin, stderr } = process
  if (!stdin.isTTY)
    return Promise.reject(
      new ZosError(`Ask for the ${what}: there is no terminal; set ZOS_PASSPHRASE`, { code: 'no-passphrase' }),
    )
  return new Promise((resolve, reject) => {
    let text = ''
    const over = () => {
      stdin.setRawMode(false)
      stdin.pause()
      stdin.off('data', onData)
      stderr.write('\n')
    }
    const onData = (data: Buffer) => {
      for (const c of data.toString()) {
        if (c === '\r' || c === '\n') {
          over()
          return resolve(text)
        }
        if (c === '\u0003') {
          over()
          return reject(new ZosError(`Ask for the ${what}: interrupted`, { code: 'interrupted' }))
        }
        text = c === '\u007f' ? text.slice(0, -1) : text + c
      }
    }
    // the terminal shows nothing any more before anybody is asked
    stdin.setRawMode(true)
    stdin.resume()
    stdin.on('data', onData)
    stderr.write(`${what}: `)
  })
}
