/** Requests of ioctl(2) that we make: linux/if_tun.h, linux/sockios.h. */
export const TUNSETIFF = 0x400454ca
export const TUNSETOFFLOAD = 0x400454d0
export const SIOCSIFFLAGS = 0x8914
export const SIOCSIFADDR = 0x8916
export const SIOCSIFMTU = 0x8922
export const SIOCGIFINDEX = 0x8933
export const SIOCSIFTXQLEN = 0x8943

/** linux/if.h, linux/ipv6.h: sizeof(struct ifreq), sizeof(struct in6_ifreq) */
export const IFREQ_SIZE = 40
export const IN6_IFREQ_SIZE = 24

/** How many bytes of its argument a request of a struct reads and writes. */
export const STRUCT_SIZE: Readonly<Record<number, number>> = {
  [TUNSETIFF]: IFREQ_SIZE,
  [SIOCSIFFLAGS]: IFREQ_SIZE,
  // of an IPv6 socket, as all of ours are
  [SIOCSIFADDR]: IN6_IFREQ_SIZE,
  [SIOCSIFMTU]: IFREQ_SIZE,
  [SIOCGIFINDEX]: IFREQ_SIZE,
  [SIOCSIFTXQLEN]: IFREQ_SIZE,
}
