/** Shell scripts run in the image KERNEL (recipes.ts), each with what it must print: what a plain container cannot do. */
export const KERNEL_CASES: { name: string; script: string; says: RegExp }[] = [
  {
    name: 'podman runs a container, with a memory limit, and publishes its port',
    script: `
      mkdir -p /tmp/r/bin && cp /bin/busybox /tmp/r/bin && ln -s busybox /tmp/r/bin/sh && tar -C /tmp/r -c . | podman import -q - bb:1
      podman run --rm --memory 64m bb:1 /bin/sh -c 'echo inside; /bin/busybox cat /sys/fs/cgroup/memory.max'
      podman run -d --name web -p 8080:80 bb:1 /bin/sh -c 'echo page > /index.html; exec /bin/busybox httpd -f -p 80 -h /'
      for i in $(seq 50); do busybox wget -qO- 127.0.0.1:8080 && break; sleep 0.2; done
      podman rm -f -t 0 web`,
    says: /inside\n67108864\n[0-9a-f]{64}\npage\n/,
  },
  {
    name: 'WireGuard: two ends, traffic between them',
    script: `
      umask 077; wg genkey > /k1; wg genkey > /k2; ip netns add far
      ip link add v0 type veth peer name v1 netns far; ip addr add 10.8.0.1/24 dev v0; ip link set v0 up
      ip link add wg0 type wireguard; ip addr add 10.9.0.1/24 dev wg0
      wg set wg0 private-key /k1 listen-port 1000 peer $(wg pubkey < /k2) allowed-ips 10.9.0.2/32; ip link set wg0 up
      far() { ip netns exec far "$@"; }
      far ip addr add 10.8.0.2/24 dev v1; far ip link set v1 up; far ip link add wg1 type wireguard
      far ip addr add 10.9.0.2/24 dev wg1
      far wg set wg1 private-key /k2 peer $(wg pubkey < /k1) allowed-ips 10.9.0.1/32 endpoint 10.8.0.1:1000; far ip link set wg1 up
      far ping -q -c 3 -W 10 10.9.0.1`,
    says: /3 packets transmitted, [1-3] received/,
  },
  {
    name: 'FUSE: fuse-overlayfs and squashfuse',
    script: `
      mkdir -p /a /b /c /u; echo below > /a/x
      fuse-overlayfs -o lowerdir=/a,upperdir=/b,workdir=/c /u && cat /u/x && echo above > /u/y && umount /u && cat /b/y
      mksquashfs /etc /tmp/e.sqfs -quiet -no-progress && squashfuse /tmp/e.sqfs /u && head -1 /u/passwd && umount /u`,
    says: /below\nabove\nroot:x:0:0/,
  },
  {
    name: 'nftables and iptables: tables, NAT, counters',
    script: `
      nft add table inet t && nft add chain inet t in '{ type filter hook input priority 0; }'
      nft add rule inet t in tcp dport 81 counter reject && nft list ruleset | grep -c 'dport 81'
      iptables -t nat -A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE && iptables -t nat -S POSTROUTING | tail -1`,
    says: /1\n.*MASQUERADE/,
  },
  {
    name: 'loop mounts: ext4, and XFS and Btrfs modules',
    script: `
      truncate -s 64M /var/lib/containers/i && mkfs.ext4 -q /var/lib/containers/i && mkdir -p /m
      mount -o loop /var/lib/containers/i /m && echo kept > /m/f && umount /m && mount -o loop,ro /var/lib/containers/i /m && cat /m/f; umount /m
      for fs in xfs btrfs; do modprobe $fs && grep -w $fs /proc/filesystems; done`,
    says: /kept\n\s*xfs\n\s*btrfs\n/,
  },
  {
    name: 'TUN and TAP devices, bridges, VLANs',
    script: `
      ip tuntap add tap0 mode tap && ip tuntap add tun0 mode tun && ip link add br0 type bridge && ip link set tap0 master br0
      ip link add link br0 name br0.7 type vlan id 7 && ip -br link | cut -d' ' -f1 | sort | tr '\\n' ' '`,
    says: /br0 br0\.7@br0 .*tap0 tun0/,
  },
  {
    name: 'overlay on a volume, device-mapper crypt',
    script: `
      cd /var/lib/containers; mkdir -p u w l /m2; echo l > l/f; mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w /m2 && cat /m2/f; umount /m2
      truncate -s 32M c && printf pw > key
      cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 c key && cryptsetup open --key-file key c secret
      mkfs.ext4 -q /dev/mapper/secret && mount /dev/mapper/secret /m2 && echo secret > /m2/f && cat /m2/f && umount /m2 && cryptsetup close secret`,
    says: /l\nsecret\n/,
  },
]
