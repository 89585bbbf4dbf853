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

/** For a key to be made: what is typed unseen is typed twice, for nobody could open a key under a slip. */
export async function newPassphrase(key: string): Promise<string> {
  const first = await passphrase(`new passphrase of "${key}"`)
  if (process.env.ZOS_PASSPHRASE !== undefined || first === (await passphrase('the same again'))) return first
  throw new ZosError(`Make key "${key}": the two passphrases are not the same; none was made`, {
    code: 'no-passphrase',
  })
}
