import { digest, poolMountPoint, recipe } from '../machine/recipe.ts';

/** The pool's file system, by which the virtual machine finds it. */
export const poolLabel = 'forkpoint-pool';

/** Everything that decides what the images of the virtual machine hold; they are built again when its hash changes. */
export const vmRecipe = {
  /** What runs the machine and makes its disks, in a small root of its own: a newer QEMU than a stable Debian has
   * starts processes three times faster under emulation. */
  tools: ['btrfs-progs', 'e2fsprogs', 'qemu-system-x86', 'qemu-utils', 'seabios'],
  /** What a host has beside the packages of the namespace host. */
  packages: [
    'apparmor',
    'dbus',
    'initramfs-tools',
    'kmod',
    'libpam-systemd',
    'linux-image-cloud-amd64',
    'python3-minimal',
    'systemd-sysv',
    'systemd-timesyncd',
    'udev',
    'zstd',
  ],
  /** Written before the packages are set up: the kernel's package makes the initial RAM disk from them. */
  early: {
    'etc/initramfs-tools/conf.d/forkpoint': 'MODULES=list\nCOMPRESS=zstd\nRESUME=none\n',
    'etc/initramfs-tools/modules': 'virtio_pci\nvirtio_blk\nvirtio_net\nvirtio_rng\next4\nbtrfs\n',
  },
  files: {
    'etc/fstab': `/dev/vda / ext4 rw,noatime 0 1\nLABEL=${poolLabel} ${poolMountPoint} btrfs rw,nodev,noatime,nofail,x-systemd.device-timeout=10min 0 0\n`,
    'etc/hostname': 'vm\n',
    'etc/hosts': '127.0.0.1 localhost vm\n::1 localhost\n',
    'etc/systemd/network/10-vm.network':
      '[Match]\nType=ether\nKind=!*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n',
    'etc/ssh/sshd_config.d/vm.conf':
      'UseDNS no\nPasswordAuthentication yes\nPermitRootLogin prohibit-password\nPrintMotd no\nMaxStartups 100\n',
  },
  /** Those that would cost a booting machine under emulation much and give it nothing. */
  masked: [
    'apt-daily.timer',
    'apt-daily-upgrade.timer',
    'dpkg-db-backup.timer',
    'e2scrub_all.timer',
    'e2scrub_reap.service',
    'fstrim.timer',
    'getty@tty1.service',
    'networking.service',
    'serial-getty@ttyS0.service',
    'systemd-networkd-wait-online.service',
    'systemd-pcrphase.service',
    'systemd-tpm2-setup.service',
    'systemd-tpm2-setup-early.service',
  ],
  rootBytes: 12 * 1024 ** 3,
} as const;

/** Names the tools' root that this recipe gives. */
export const toolsDigest = digest([recipe.suite, recipe.mirror, vmRecipe.tools]);

/** Names the images that this recipe gives. */
export const imagesDigest = digest([recipe, vmRecipe]);
