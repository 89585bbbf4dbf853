import type { ChildProcess } from 'node:child_process'
import { accessSync } from 'node:fs'
import type { Net } from '../bench/overlay/net.ts'

/** 0 and 3 reach each other over 1 and over 2. */
export const DIAMOND = [
  [0, 1],
  [0, 2],
  [3, 1],
  [3, 2],
] as const

/** Why namespaces and TUNs cannot be made here; false when they can. */
export function noNamespaces(): string | false {
  try {
    accessSync('/dev/net/tun')
    if (process.getuid?.() === 0) return false
  } catch {}
  return 'needs root and /dev/net/tun'
}

/** The output of a program that ends by itself; it is killed after SECONDS. BEGUN is called when the first of it comes. */
export async function outputOf(child: ChildProcess, seconds: number, begun = () => {}): Promise<string> {
  let said = ''
  child.stdout!.once('data', begun)
  child.stdout!.on('data', (text) => {
    said += text
  })
  const limit = setTimeout(() => child.kill('SIGKILL'), seconds * 1000)
  await new Promise((done) => child.once('close', done))
  clearTimeout(limit)
  return said.trim()
}

/** PIECES of 200 kB over TCP, PAUSE ms apart; both ends hash what passed. DURING runs meanwhile. */
export async function transferred(
  net: Pick<Net, 'spawn' | 'addresses'>,
  from: number,
  to: number,
  pause = 0,
  during?: () => Promise<void>,
  pieces = 100,
): Promise<string> {
  const receive = `const h=require('crypto').createHash('sha256');let n=0;require('net').createServer(s=>{s.on('data',d=>{n+=d.length;h.update(d)});s.on('end',()=>{s.end();console.log(n+' '+h.digest('hex'));process.exit()})}).listen(7777,'::',()=>console.log('up'))`
  const send = `const c=require('crypto'),h=c.createHash('sha256');const s=require('net').connect(7777,'${net.addresses[to]}');let i=0;const go=()=>{if(i++>=${pieces})return s.end();const b=c.randomBytes(200000);h.update(b);s.write(b,()=>setTimeout(go,${pause}))};s.on('connect',go);s.on('close',()=>console.log(h.digest('hex')));s.resume()`
  const { promise: listens, resolve: begun } = Promise.withResolvers<void>()
  const receiver = outputOf(net.spawn(to, [process.execPath, '-e', receive]), 90, begun)
  await Promise.race([listens, receiver])
  const sender = outputOf(net.spawn(from, [process.execPath, '-e', send]), 90)
  await during?.()
  const [sent, received] = await Promise.all([sender, receiver])
  const [, bytes, hash] = /^up\n(\d+) (\w+)$/.exec(received) ?? []
  return `${bytes} ${hash === sent ? 'same' : 'other'}`
}
