// Loaded into a program of ours by --import: at SIGUSR2 its main thread writes to $ZOS_LEFT what it can still do, each thing as
// "yes" or why not.
import { spawnSync } from 'node:child_process'
import { dlopen, getRawPointer } from 'node:ffi'
import { closeSync, openSync, renameSync, writeFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { tried } from '../src/sys/tried.fixture.ts'

const WITH_FFI = ['--permission', '--allow-fs-read=*', '--allow-ffi']

process.on('SIGUSR2', () => {
  const path = process.env.ZOS_LEFT!
  const left = {
    library: tried(() => dlopen('libc.so.6', {})),
    address: tried(() => getRawPointer(new ArrayBuffer(8))),
    thread: tried(() => new Worker('', { eval: true, execArgv: WITH_FFI }).terminate()),
    memory: tried(() => closeSync(openSync('/proc/self/mem', 'r+'))),
    program: tried(() => spawnSync('true')),
  }
  writeFileSync(`${path}.tmp`, JSON.stringify(left))
  renameSync(`${path}.tmp`, path)
})
