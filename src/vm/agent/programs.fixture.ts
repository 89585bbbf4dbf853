import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { until } from '#sys'
import type { Agent } from './agent.ts'
import { ask } from './ask.fixture.ts'
import { processOf } from './vm.fixture.ts'

/** Programs run beside the main one, `sh -c SCRIPT`: how they end, who they are, terminals, signals. For agent.test.ts. */
export async function programs(t: TestContext, agent: Agent, script: string): Promise<void> {
  await t.test("a program's end has Docker's exit code, and one that cannot run says why", async () => {
    assert.equal((await ask(agent, ['sh', '-c', 'exit 3'])).exit.code, 3)
    assert.deepEqual((await ask(agent, ['sh', '-c', 'kill -9 $$'])).exit, {
      code: 137,
      signal: 'KILL',
      oom: false,
      reason: 'killed by SIGKILL',
    })
    const refused = async (code: number, text: RegExp, argv: string[], more = {}) =>
      assert.rejects(ask(agent, argv, more), (error: Error & { details: { exitCode: number } }) => {
        assert.match(error.message, text)
        assert.equal(error.details.exitCode, code)
        return true
      })
    await refused(127, /"nope": executable file not found in \$PATH/, ['nope'])
    await refused(127, /no such file/, ['/nope'])
    await refused(127, /no such file/, ['/bin/no-interpreter'])
    await refused(126, /permission denied/, ['/bin/not-executable'])
    await refused(126, /is a directory/, ['/etc'])
    await refused(126, /chdir to "\/nowhere"/, ['true'], { cwd: '/nowhere' })
    await refused(126, /unable to find user eve/, ['true'], { user: 'eve' })
  })

  await t.test('a process has the user, groups, environment and limits that were asked for', async () => {
    const who = async (user: string) => (await ask(agent, ['sh', '-c', 'id; echo $HOME'], { user })).text
    assert.equal(await who('bob'), 'uid=1000(bob) gid=1000(bob) groups=10(wheel),1000(bob)\n/home/bob\n')
    assert.equal(await who('7:10'), 'uid=7 gid=10(wheel) groups=10(wheel)\n/\n')
    const more = { env: ['A=ü', 'HOME=/x'], cwd: '/home', rlimits: [{ name: 'nofile', soft: 77, hard: 99 }] }
    assert.equal(
      (
        await ask(agent, ['sh', '-c', 'echo $A $HOME $PWD $(ulimit -n); grep CapEff /proc/self/status'], more)
      ).text.split('\n')[0],
      'ü /x /home 77',
    )
    assert.match((await ask(agent, ['grep', 'CapEff', '/proc/self/status'], { user: '5' })).text, /0000000000000000/)
    assert.match((await ask(agent, ['sh', '-c', 'echo x >/dev/stderr'], { user: 'bob' })).err, /^x/)
  })

  await t.test('a terminal has the size it is given, and Ctrl-C interrupts its program', async () => {
    const session = await agent.exec({
      ...processOf('sh', '-c', 'stty size; tty; read x; stty size; read x; sleep 9'),
      tty: { rows: 33, columns: 99 },
      stdin: true,
    })
    let seen = ''
    session.stdout.on('data', (d) => (seen += d))
    const shows = (want: RegExp) => until(`${want}, not ${JSON.stringify(seen)}`, 30_000, () => want.test(seen))
    await shows(/^33 99\r\n\/dev\/pts\/0\r\n/)
    await session.resize({ rows: 11, columns: 22 })
    session.stdin.write('\n')
    await shows(/11 22\r\n/)
    session.stdin.write('\x03')
    assert.equal((await session.exit).signal, 'INT')
  })

  await t.test('processes are listed by their commands, and a signal ends the one it is for', async () => {
    const session = await agent.exec(processOf('sleep', '1234'))
    const rows = await agent.processes()
    assert.equal(rows.find((r) => r.pid === 1)?.command, `sh -c ${script}`)
    assert.ok(rows.some((r) => r.command === 'sleep 1234'))
    await session.signal('SIGUSR1')
    assert.equal((await session.exit).signal, 'USR1')
    await assert.rejects(session.signal('TERM'), { code: 'not-running' })
    await assert.rejects(agent.signal('NOPE'), { code: 'bad-signal' })
  })
}
