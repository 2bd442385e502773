// SPDX-License-Identifier: GPL-2.0
/*
 * What: the module parameter force_intercept_exceptions: which vectors it takes, that a VM keeps
 * what was set when it was created, and that a guest which raises every exception there is sees the
 * same vectors, error codes, addresses, CR2, DR6 and RFLAGS with each one forced, and with all of
 * them.
 * Conditions: strata. The guest does what the CPU can: QEMU's TCG has no alignment checks, raises
 * no SSE exceptions, and intercepts neither INT3, INTO nor #DF.
 * Expected: equal logs; a forced vector costs an exit each time, one that is not forced costs none.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "emulator.h"
#include "param.h"
#include "stats.h"

#define MC_VECTOR	18
#define ROUNDS		40
#define ABSENT		(GPA_HEAP + 0x10000)
#define SHORT_TSS	0x40
#define VECTOR_IST7	0x90
/* Exits whatever the parameter says; on SVM #UD too, for VMCALL */
#define ALWAYS		(1u << DB_VECTOR | 1u << AC_VECTOR | 1u << MC_VECTOR)

/* Not intercepted by TCG at all */
#define TCG_PASSES	(1u << BP_VECTOR | 1u << OF_VECTOR | 1u << DF_VECTOR)

struct entry {
	u64 vector, error, rip, cr2, dr6, rflags;
};

static struct entry entries[32];
static volatile u32 nr_entries;
static u64 resume;

extern char storm32[];
asm(".pushsection .text\n"
    ".code32\n"
    "storm32:\n"
    "	mov $0x7f, %al\n"
    "	add $1, %al\n"
    "	into\n"
    "	lret\n"
    ".code64\n"
    ".popsection");

/* Faults go on at @resume, traps behind their instruction; user mode ends with its exception. */
static void on_any(struct guest_frame *frame)
{
	struct entry *e = &entries[nr_entries++ % 32];

	*e = (struct entry){ frame->vector, frame->error, frame->rip, read_cr2(), 0, frame->rflags };
	if (frame->vector == DB_VECTOR)
		asm volatile("mov %%dr6, %0" : "=r"(e->dr6));
	frame->rflags &= ~(RFLAGS_TF | 1u << 18);
	if (resume) {
		frame->rip = resume;
		frame->cs = SEL_CODE64;
		frame->ss = SEL_DATA;
	}
	resume = 0;
}

#define STORM(insn)								\
	asm volatile("lea 771f(%%rip), %%rax; mov %%rax, %0\n" insn "\n771:"	\
		     : "=m"(resume) : : "rax", "rcx", "rdx", "memory", "cc")

/* Ring 3 with alignment checks on: a handler takes it back, with the stack of before. */
static void misaligned(void)
{
	asm volatile("lea 771f(%%rip), %%rax; mov %%rax, %0\n"
		     "mov %%rsp, %%rcx; push %2; push %%rcx; pushfq; orl $0x40000, (%%rsp)\n"
		     "push %1; lea 1f(%%rip), %%rax; push %%rax; iretq\n"
		     "1: movl 1(%%rsp), %%eax; ud2\n"
		     "771:"
		     : "=m"(resume) : "i"(SEL_FREE + 8 + 3), "i"(SEL_FREE + 16 + 3)
		     : "rax", "rcx", "memory", "cc");
}

static void storm(void)
{
	static struct { u32 eip; u16 cs; } __attribute__((packed)) far32;
	u64 *idt = (u64 *)GPA_IDT;
	u32 mxcsr = 0x1d80;
	u16 fcw = 0x37b;

	STORM("xor %%eax, %%eax; xor %%edx, %%edx; div %%eax");
	asm volatile("pushfq; orl $0x100, (%%rsp); popfq; nop" : : : "memory", "cc");
	asm volatile("int3");
	asm volatile(".byte 0x66, 0xcc");
	far32.eip = (u64)storm32;
	far32.cs = SEL_CODE32;
	asm volatile("lcall *%0" : : "m"(far32) : "rax", "memory", "cc");
	STORM("ud2");
	write_cr0(read_cr0() | CR0_TS);
	STORM("fld1");
	write_cr0(read_cr0() & ~CR0_TS);
	idt[2 * GP_VECTOR] &= ~(1ull << 47);
	STORM("mov $0x48, %%eax; mov %%eax, %%ds");
	idt[2 * GP_VECTOR] |= 1ull << 47;
	STORM("int $0x90");
	STORM("mov $0x30, %%eax; mov %%eax, %%es");
	STORM("mov $0x30, %%eax; mov %%eax, %%ss");
	STORM("movabs $0x8000000000000000, %%rax; mov (%%rax), %%rax");
	STORM("movabs $0x810123, %%rax; movb %%al, (%%rax)");
	asm volatile("fninit; fldcw %0; fldz; fld1; fdivp" : : "m"(fcw));
	STORM("fwait");
	asm volatile("fninit; ldmxcsr %0; xorps %%xmm0, %%xmm0; cvtsi2ss %1, %%xmm1" : : "m"(mxcsr), "r"(1));
	STORM("divss %%xmm0, %%xmm1");
	misaligned();
}

static void guest_storm(void)
{
	u32 i;

	for (i = 0; i < 32; i++)
		guest_handlers[i] = on_any;
	asm volatile("mov %0, %%dr6" : : "r"(0xffff0ff0ul));
	write_cr0(read_cr0() | CR0_AM);
	for (i = 0; i < ROUNDS; i++) {
		nr_entries = 0;
		storm();
	}
	guest_done();
}

/* A VM ready to run the storm. */
static struct vm *storm_vm(void)
{
	struct vm *vm = vm_create(1);
	struct kvm_sregs sregs;
	u64 *gdt, *idt, gva;

	vcpu_set_long(vm->vcpu, guest_storm, 0);
	gdt = gpa_to_host(vm, GPA_GDT);
	idt = gpa_to_host(vm, GPA_IDT);
	gdt[SEL_FREE / 8] = 0x00cf13000000ffffull;
	gdt[SEL_FREE / 8 + 1] = 0x00affb000000ffffull;
	gdt[SEL_FREE / 8 + 2] = 0x00cff3000000ffffull;
	idt[2 * VECTOR_IST7] |= 7ull << 32;
	*(u64 *)((u8 *)gpa_to_host(vm, GPA_TSS) + 4) = GPA_STACKS + 8 * STACK_SIZE;
	for (gva = 0; gva < SLOT0_SIZE; gva += 2 << 20)
		*vm_pte(vm, gva, 2) |= PTE_U;
	*vm_pte(vm, ABSENT, 1) = 0;
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.tr.limit = SHORT_TSS;
	xioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs);
	return vm;
}

struct outcome {
	struct entry log[32];
	u32 nr, seen;
	long exits;
};

static void run_storm(struct vm *vm, struct outcome *o)
{
	int fd = xioctl(vm->vcpu->fd, KVM_GET_STATS_FD, NULL);
	u32 i;

	RUN_UNTIL_DONE(vm->vcpu);
	memset(o, 0, sizeof(*o));
	memcpy(o->log, guest_var(vm, &entries[0]), sizeof(o->log));
	o->nr = *guest_var(vm, &nr_entries);
	for (i = 0; i < o->nr && i < 32; i++)
		o->seen |= 1u << (o->log[i].vector & 31);
	o->exits = stat_value(fd, "exits") - stat_value(fd, "irq_exits");
	close(fd);
	vm_destroy(vm);
}

/*
 * TCG does not set RF in what it pushes for a fault, as CPUs do and strata does for a forwarded
 * one.
 */
static bool same_entry(const struct entry *a, const struct entry *b)
{
	u64 ignored = host_is_tcg() ? RFLAGS_RF : 0;
	struct entry x = *a, y = *b;

	x.rflags |= ignored;
	y.rflags |= ignored;
	/* Bochs' VMRUN does not load CR2. */
	if (host_is_bochs_svm())
		x.cr2 = y.cr2;
	return !memcmp(&x, &y, sizeof(x));
}

static void compare(const char *what, const struct outcome *got, const struct outcome *want)
{
	u32 i;

	if (got->nr != want->nr)
		tap_fail(__FILE__, __LINE__, "%s: %u exceptions, not %u", what, got->nr, want->nr);
	for (i = 0; i < want->nr; i++) {
		const struct entry *g = &got->log[i], *w = &want->log[i];

		if (same_entry(g, w))
			continue;
		tap_fail(__FILE__, __LINE__,
			 "%s: %u: got vector %lu error %lx rip %lx cr2 %lx dr6 %lx rflags %lx", what, i,
			 g->vector, g->error, g->rip, g->cr2, g->dr6, g->rflags);
		tap_note("expected vector %lu error %lx rip %lx cr2 %lx dr6 %lx rflags %lx",
			 w->vector, w->error, w->rip, w->cr2, w->dr6, w->rflags);
		return;
	}
}

TEST(each_vector)
{
	u32 uncaught = ALWAYS | (host_is_amd() ? 1u << UD_VECTOR : 0) | (host_is_tcg() ? TCG_PASSES : 0);
	u32 mask, bits, i;
	struct outcome plain, forced;
	char what[32];

	param_write(FORCE_PARAM, ~0u);
	mask = param_read(FORCE_PARAM);
	param_write(FORCE_PARAM, 0);
	run_storm(storm_vm(), &plain);
	tap_note("%u exceptions a round, vectors %#x, %ld exits", plain.nr, plain.seen,
		 plain.exits);
	CHECK(plain.nr >= 15 && plain.nr <= 32);
	for (i = 0; i < 32; i++) {
		if (!(mask & 1u << i))
			continue;
		bits = 1u << i;
		/*
		 * TCG merges only what it did not inject: the second fault of the #DF has to exit
		 * too.
		 */
		if (i == GP_VECTOR && host_is_tcg())
			bits |= 1u << NP_VECTOR;
		param_write(FORCE_PARAM, bits);
		snprintf(what, sizeof(what), "vector %u forced", i);
		run_storm(storm_vm(), &forced);
		compare(what, &forced, &plain);
		if (plain.seen & ~uncaught & 1u << i && forced.exits - plain.exits < ROUNDS - 5)
			tap_fail(__FILE__, __LINE__, "%s: %ld exits, %ld without", what,
				 forced.exits, plain.exits);
	}
	param_write(FORCE_PARAM, mask);
	run_storm(storm_vm(), &forced);
	compare("all forced", &forced, &plain);
	param_write(FORCE_PARAM, 0);
}

TEST(vm_keeps_its_own)
{
	struct kvm_guest_debug dbg = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP };
	struct outcome old, plain, forced;
	struct vm *before, *after;

	param_write(FORCE_PARAM, 0);
	before = storm_vm();
	run_storm(storm_vm(), &plain);
	param_write(FORCE_PARAM, 1u << DE_VECTOR | 1u << BP_VECTOR);
	after = storm_vm();
	param_write(FORCE_PARAM, 0);
	/* Somebody's interest in the same intercept comes and goes. */
	xioctl(after->vcpu->fd, KVM_SET_GUEST_DEBUG, &dbg);
	dbg.control = 0;
	xioctl(after->vcpu->fd, KVM_SET_GUEST_DEBUG, &dbg);
	run_storm(after, &forced);
	run_storm(before, &old);
	compare("created while forced", &forced, &plain);
	CHECK(forced.exits - plain.exits >= (host_is_tcg() ? 1 : 3) * ROUNDS - 5);
	CHECK(old.exits - plain.exits < ROUNDS / 2);
}

/* What the kernel said since @fd was opened at its end: how often @word, and the last such line. */
static int kernel_lines(int fd, const char *word, char *last, size_t size)
{
	char line[1024];
	int found = 0;
	ssize_t n;

	while ((n = read(fd, line, sizeof(line) - 1)) > 0) {
		line[n] = 0;
		if (strstr(line, word)) {
			found++;
			snprintf(last, size, "%s", line);
		}
	}
	return found;
}

TEST(accepted_vectors)
{
	const u32 always = 0xf79fb, ts = 1u << TS_VECTOR;
	static const char *const refused[] = { "2 NMI", " 9 ", " 15", " 21 #CP", " 31" };
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	char line[1024] = "";
	unsigned int i;
	u32 mask;

	param_read(FORCE_PARAM);
	REQUIRE(log >= 0 && lseek(log, 0, SEEK_END) >= 0);
	param_write(FORCE_PARAM, ~0u);
	mask = param_read(FORCE_PARAM);
	CHECK_EQ(mask & ~ts, always);
	CHECK_EQ(kernel_lines(log, FORCE_PARAM, line, sizeof(line)), 1);
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (!strstr(line, refused[i]))
			tap_fail(__FILE__, __LINE__, "'%s' is not in: %s", refused[i], line);
	param_write(FORCE_PARAM, mask);
	param_write(FORCE_PARAM, 0);
	CHECK_EQ(kernel_lines(log, FORCE_PARAM, line, sizeof(line)), 0);
	CHECK_EQ(param_read(FORCE_PARAM), 0);
}
