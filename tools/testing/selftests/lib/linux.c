// SPDX-License-Identifier: GPL-2.0
/*
 * Loading a Linux guest, and its devices; see linux.h.
 */
#include <asm/bootparam.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linux.h"
#include "x86.h"

#define KERNEL_FILE	"/guest/vmlinuz"
/* The second one is packed behind the first. */
#define INITRD_FILE	"/guest/initramfs"
#define RAISE_FILE	"/guest/raise.cpio"

/* Guest-physical */
#define BOOT_PARAMS	0x10000ull
#define COMMAND_LINE	0x20000ull
#define BOOT_GDT	0x30000ull
#define BOOT_TABLES	0x40000ull
#define MP_TABLE	0xf0000ull
#define HIGH		0x100000ull
#define IOAPIC		0xfec00000u
#define LAPIC		0xfee00000u

#define BOOT_CS		0x10
#define BOOT_DS		0x18
#define ENTRY64		0x200
#define HDRS		0x53726448	/* "HdrS" */

/* ---- memory ---- */

static u8 *file(const char *name, size_t *size)
{
	int fd = open(name, O_RDONLY);
	struct stat st;
	u8 *bytes;

	if (fd < 0)
		tap_die(__FILE__, __LINE__, "%s is not on this host", name);
	REQUIRE(!fstat(fd, &st));
	bytes = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	REQUIRE(bytes != MAP_FAILED);
	close(fd);
	*size = st.st_size;
	return bytes;
}

static void add_e820(struct boot_params *p, u64 start, u64 end)
{
	p->e820_table[p->e820_entries++] = (struct boot_e820_entry){ start, end - start, 1 };
}

static void load_initrd(struct linux_guest *g, struct setup_header *h)
{
	size_t size, more;
	u8 *initrd = file(INITRD_FILE, &size), *raise = file(RAISE_FILE, &more);
	u64 at = (LINUX_MEMORY - size - more) & ~0xfffull;

	memcpy(g->mem + at, initrd, size);
	memcpy(g->mem + at + size, raise, more);
	munmap(initrd, size);
	munmap(raise, more);
	h->ramdisk_image = at;
	h->ramdisk_size = size + more;
}

static void load_kernel(struct linux_guest *g, const char *command_line)
{
	struct boot_params *p = (struct boot_params *)(g->mem + BOOT_PARAMS);
	size_t size, setup;
	u8 *image;

	if (access(KERNEL_FILE, R_OK))
		tap_skip("%s is not on this host", KERNEL_FILE);
	image = file(KERNEL_FILE, &size);
	memcpy(&p->hdr, image + 0x1f1, 0x202 + image[0x201] - 0x1f1);
	REQUIRE_EQ(p->hdr.header, HDRS);
	REQUIRE(p->hdr.xloadflags & XLF_KERNEL_64);
	setup = ((p->hdr.setup_sects ?: 4) + 1) * 512;
	REQUIRE(p->hdr.pref_address + p->hdr.init_size < LINUX_MEMORY / 2);
	memcpy(g->mem + p->hdr.pref_address, image + setup, size - setup);
	munmap(image, size);
	p->hdr.type_of_loader = 0xff;
	p->hdr.cmd_line_ptr = COMMAND_LINE;
	strcpy((char *)g->mem + COMMAND_LINE, command_line);
	load_initrd(g, &p->hdr);
	add_e820(p, 0, 0x9fc00);
	add_e820(p, HIGH, LINUX_MEMORY);
}

/* ---- the table of the MultiProcessor specification: processors, an ISA bus, an I/O APIC ---- */

static u8 sum(const u8 *p, size_t n)
{
	u8 s = 0;

	while (n--)
		s += *p++;
	return s;
}

static u8 *mp_add(u8 *at, const void *entry, size_t size)
{
	memcpy(at, entry, size);
	return at + size;
}

static void build_mp_table(struct linux_guest *g, u8 nr_cpus)
{
	u8 *pointer = g->mem + MP_TABLE, *config = pointer + 16, *p = config + 44;
	static const u8 bus[8] = { 1, 0, 'I', 'S', 'A', ' ', ' ', ' ' };
	const u8 ioapic[8] = { 2, nr_cpus, 0x11, 1, 0, 0, IOAPIC >> 16 & 0xff, IOAPIC >> 24 };
	static const u8 lint0[8] = { 4, 3, 0, 0, 0, 0, 0xff, 0 }, lint1[8] = { 4, 1, 0, 0, 0, 0, 0xff, 1 };
	u16 count = nr_cpus + 2 + 15 + 2, length;
	u32 address = MP_TABLE + 16, lapic = LAPIC;
	u8 irq, cpu;

	for (cpu = 0; cpu < nr_cpus; cpu++)
		p = mp_add(p, (u8 [20]){ 0, cpu, 0x14, cpu ? 1 : 3 }, 20);
	p = mp_add(p, bus, sizeof(bus));
	p = mp_add(p, ioapic, sizeof(ioapic));
	for (irq = 0; irq < 16; irq++)
		if (irq != 2)
			p = mp_add(p, (u8 []){ 3, 0, 0, 0, 0, irq, nr_cpus, irq }, 8);
	p = mp_add(p, lint0, sizeof(lint0));
	p = mp_add(p, lint1, sizeof(lint1));
	length = p - config;
	memcpy(config, "PCMP", 4);
	memcpy(config + 4, &length, 2);
	config[6] = 4;
	memcpy(config + 8, "STRATA  SELFTEST    ", 20);
	memcpy(config + 34, &count, 2);
	memcpy(config + 36, &lapic, 4);
	config[7] = -sum(config, length);
	memcpy(pointer, "_MP_", 4);
	memcpy(pointer + 4, &address, 4);
	pointer[8] = 1;
	pointer[9] = 4;
	pointer[10] = -sum(pointer, 16);
}

/* ---- the way in ---- */

static void build_tables(struct linux_guest *g)
{
	u64 *gdt = (u64 *)(g->mem + BOOT_GDT), *l4 = (u64 *)(g->mem + BOOT_TABLES), i;

	gdt[BOOT_CS / 8] = 0x00af9b000000ffffull;
	gdt[BOOT_DS / 8] = 0x00cf93000000ffffull;
	/* One to one, 4 GiB in pages of 2 MiB */
	l4[0] = (BOOT_TABLES + 0x1000) | PTE_P | PTE_W;
	for (i = 0; i < 4; i++)
		l4[512 + i] = (BOOT_TABLES + 0x2000 + i * 0x1000) | PTE_P | PTE_W;
	for (i = 0; i < 4 * 512; i++)
		l4[1024 + i] = i << 21 | PTE_P | PTE_W | PTE_PS;
}

struct linux_guest *linux_load(const char *command_line, unsigned int nr_cpus)
{
	struct linux_guest *g = calloc(1, sizeof(*g));

	g->mem = host_alloc(LINUX_MEMORY, 2 << 20);
	load_kernel(g, command_line);
	build_mp_table(g, nr_cpus);
	build_tables(g);
	return g;
}

static struct kvm_segment segment(u16 selector, u8 type, bool code64)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .db = !code64, .s = 1, .l = code64, .g = 1,
	};
}

void linux_enter(struct linux_guest *g, struct vm *vm)
{
	const struct boot_params *p = (struct boot_params *)(g->mem + BOOT_PARAMS);
	struct kvm_regs regs = {
		.rip = p->hdr.pref_address + ENTRY64, .rsi = BOOT_PARAMS, .rflags = RFLAGS_FIXED, .rsp = BOOT_PARAMS,
	};
	struct kvm_segment data = segment(BOOT_DS, 3, false);
	struct kvm_sregs sregs;

	REQUIRE_EQ(vm_set_slot(vm, 0, 0, 0, LINUX_MEMORY, g->mem), 0);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.cs = segment(BOOT_CS, 11, true);
	sregs.ds = sregs.es = sregs.ss = data;
	sregs.gdt = (struct kvm_dtable){ .base = BOOT_GDT, .limit = 0x1f };
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	sregs.cr3 = BOOT_TABLES;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	xioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs);
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
}

/* ---- the serial port ---- */

#define UART		0x3f8
#define UART_IRQ	4

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

static void uart_line(struct linux_guest *g, struct vm *vm)
{
	struct kvm_irq_level level = { .irq = UART_IRQ, .level = g->uart.thr_empty && (g->uart.ier & 2) };

	if (level.level == g->uart.line)
		return;
	g->uart.line = level.level;
	xioctl(vm->fd, KVM_IRQ_LINE, &level);
}

static u8 uart_iir(struct uart *u)
{
	u8 iir = u->fcr & 1 ? 0xc1 : 1;

	if (u->thr_empty && (u->ier & 2))
		iir ^= 3;
	u->thr_empty = false;
	return iir;
}

static u8 uart_read(struct uart *u, u16 reg)
{
	switch (reg) {
	case RBR_THR:
	case IER:
		return u->lcr & 0x80 ? u->divisor[reg] : reg ? u->ier : 0;
	case IIR_FCR:
		return uart_iir(u);
	case LCR:
		return u->lcr;
	case MCR:
		return u->mcr;
	case LSR:
		return 0x60;
	case MSR:
		/* In loop-back mode the outputs are the inputs. */
		return u->mcr & 0x10 ? (u->mcr & 2) << 3 | (u->mcr & 1) << 5 | (u->mcr & 0xc) << 4 : 0xb0;
	default:
		return u->scr;
	}
}

static void uart_write(struct linux_guest *g, u16 reg, u8 value)
{
	struct uart *u = &g->uart;

	switch (reg) {
	case RBR_THR:
	case IER:
		if (u->lcr & 0x80) {
			u->divisor[reg] = value;
		} else if (reg == IER) {
			u->thr_empty |= value & ~u->ier & 2;
			u->ier = value;
		} else if (!(u->mcr & 0x10)) {
			u->thr_empty = true;
			if (g->logged < LINUX_LOG - 1)
				g->log[g->logged++] = value;
		}
		break;
	case IIR_FCR:
		u->fcr = value;
		break;
	case LCR:
		u->lcr = value;
		break;
	case MCR:
		u->mcr = value;
		break;
	case SCR:
		u->scr = value;
		break;
	}
}

/* ---- ports ---- */

/* A clock that stands, and is no reason to wait. */
static u8 cmos_read(u8 index)
{
	static const u8 regs[] = { [4] = 0x12, [6] = 1, [7] = 1, [8] = 1, [9] = 0x24, [10] = 0x26, [11] = 2, [13] = 0x80 };

	return index < sizeof(regs) ? regs[index] : index == 0x32 ? 0x20 : 0;
}

static u32 port_read(struct linux_guest *g, struct vm *vm, u16 port)
{
	u32 value = ~0u;

	if (port >= UART && port < UART + 8) {
		value = uart_read(&g->uart, port - UART);
		uart_line(g, vm);
	} else if (port == 0x71) {
		value = cmos_read(g->cmos);
	} else if (port == 0x61) {
		value = 0;	/* nothing that an NMI would be for */
	}
	return value;
}

static void port_write(struct linux_guest *g, struct vm *vm, u16 port, u32 value)
{
	if (port >= UART && port < UART + 8) {
		uart_write(g, port - UART, value);
		uart_line(g, vm);
	} else if (port == 0x70) {
		g->cmos = value & 0x7f;
	} else if (port == 0x64 && (u8)value == 0xfe) {
		/* The keyboard controller's reset line */
		g->ended = true;
	} else if (port == PORT_MARK && g->mark) {
		g->mark(g, value);
	}
}

static void serve_io(struct linux_guest *g, struct vm *vm, struct kvm_run *run)
{
	u8 *data = (u8 *)run + run->io.data_offset;
	u32 value, i;

	for (i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_IN) {
			value = port_read(g, vm, run->io.port);
			memcpy(data, &value, run->io.size);
		} else {
			value = 0;
			memcpy(&value, data, run->io.size);
			port_write(g, vm, run->io.port, value);
		}
	}
}

void linux_serve(struct linux_guest *g, struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->exit_reason == KVM_EXIT_IO)
		serve_io(g, vm, run);
	else if (!run->mmio.is_write)
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
}

void linux_free(struct linux_guest *g)
{
	munmap(g->mem, LINUX_MEMORY);
	free(g);
}

/* ---- its log ---- */

void linux_show_log(const struct linux_guest *g)
{
	char *line, *rest = strdup(g->log), *all = rest;

	while ((line = strsep(&rest, "\n")))
		tap_note("guest: %.*s", (int)strcspn(line, "\r"), line);
	free(all);
}

unsigned int linux_complaints(const struct linux_guest *g)
{
	static const char *const words[] = {
		"BUG:", "kernel BUG", "Oops", "WARNING: CPU", "Call Trace", "unstable", "stall", "lockup", "nobody cared", "spurious 8259A",
		"spurious APIC", "general protection", "segfault", "Kernel panic", "blocked for more than", "backwards",
	};
	const char *log = g->log, *p, *end = strstr(log, "strata: interrupts before") ?: log + strlen(log);
	unsigned int i, n = 0;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (p = log; (p = strstr(p, words[i])) && p < end; p++) {
			tap_note("the guest's log says: %.60s", p > log + 30 ? p - 30 : log);
			n++;
		}
	}
	return n;
}
