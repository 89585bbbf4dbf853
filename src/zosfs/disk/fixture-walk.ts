import { run } from '#sys'

/** What a walk sees at PATH. */
export type Seen = {
  path: string
  mode: number
  uid: number
  gid: number
  mtime: string
  nlink: number
  size: number
  ino: number
  rdev: [number, number]
  xattrs: Record<string, string>
  content: string
}

// Python because Node reads neither extended attributes nor device numbers apart
const WALK = `
import os, sys, json, hashlib
top = os.fsencode(sys.argv[1])
def show(path):
    st = os.lstat(path)
    kind = st.st_mode & 0o170000
    content = ''
    if kind == 0o100000: content = hashlib.sha256(open(path, 'rb').read()).hexdigest()
    if kind == 0o120000: content = os.readlink(path).hex()
    xattrs = {os.fsencode(n).hex(): os.getxattr(path, n, follow_symlinks=False).hex() for n in os.listxattr(path, follow_symlinks=False)}
    print(json.dumps(dict(path=path[len(top)+1:].hex(), mode=st.st_mode, uid=st.st_uid, gid=st.st_gid, mtime=str(st.st_mtime_ns),
      nlink=st.st_nlink, size=st.st_size, ino=st.st_ino, rdev=[os.major(st.st_rdev), os.minor(st.st_rdev)], xattrs=xattrs, content=content)))
    if kind == 0o040000:
        for name in sorted(os.listdir(path)): show(path + b'/' + name)
show(top)
`

/** All below TOP, links and attributes included, as the kernel shows it; directories before what is in them. */
export async function walk(top: string): Promise<Seen[]> {
  const { stdout } = await run('python3', ['-c', WALK, top], { timeout: 600_000 })
  const lines = stdout.toString().trim().split('\n')
  return lines.map((line) => JSON.parse(line) as Seen)
}
