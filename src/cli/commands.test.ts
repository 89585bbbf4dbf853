import assert from 'node:assert/strict'
import test from 'node:test'
import { commands } from './commands.ts'
import { HelpAsked } from './flags.ts'

test('every command answers --help and does nothing else', async () => {
  for (const [name, command] of Object.entries(commands)) {
    if (command.verbs || name === 'mycelium') continue
    const run = (await command.run()).default
    await assert.rejects(run(['--help']), HelpAsked, `zos ${name} --help`)
  }
})
