import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Abi } from '#npm'
import type { Artifact } from './compile.ts'

type Hex = `0x${string}`

/** The compiled Ledger as committed; a test recompiles and compares. */
export const ledger = JSON.parse(readFileSync(join(import.meta.dirname, 'artifacts/Ledger.json'), 'utf8')) as Omit<
  Artifact,
  'abi' | 'bytecode' | 'deployedBytecode'
> & { abi: Abi; bytecode: Hex; deployedBytecode: Hex }
