// SPDX-License-Identifier: GPL-2.0
/*
 * What: states that userspace puts together between two runs of parts that are each all right, and
 * that VMX does not enter as they are: events under shadows, error codes where an exception has
 * none or the contrary; then random ones, some in cold memory.
 * Conditions: long mode. Error codes that do not fit are tried on VMX only: SVM pushes what it is
 * told. ENTRY_SEED and ENTRY_ROUNDS override what is chosen.
 * Expected: every state runs: no entry fails.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "emulator.h"
#include "state.h"

#define VECTOR		0x41
#define PORT_HERE	0x31

static volatile u64 vector, error, rip;

static void on_any(struct guest_frame *f)
{
	vector = f->vector;
	error = f->error;
	rip = f->rip;
	for (;;)
		out8(PORT_HERE, 1);
}

static void guest_here(void)
{
	for (;;)
		asm volatile("nop; nop; outb %%al, %0" : : "i"(PORT_HERE) : "memory");
}

/* The VM, and what the vCPU is set to before each run */
struct bench {
	struct vm *vm;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_vcpu_events events;
};

static void bench_init(struct bench *b, bool strata)
{
	int i;

	for (i = 0; i < 256; i++)
		guest_handlers[i] = on_any;
	b->vm = vm_create_with(&(struct vm_config) { .nr_vcpus = 1, .payload = true, .strata_events = strata }, NULL);
	vcpu_set_long(b->vm->vcpu, guest_here, 0);
	xioctl(b->vm->vcpu->fd, KVM_GET_REGS, &b->regs);
	xioctl(b->vm->vcpu->fd, KVM_GET_SREGS, &b->sregs);
	xioctl(b->vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &b->events);
}

static void guest_unblocks(void)
{
	guest_iret();
	guest_done();
}

/* The last guest may have been left in its NMI handler, and Bochs does not forget. */
static void bench_done(struct bench *b)
{
	vcpu_set_long(b->vm->vcpu, guest_unblocks, 0);
	vcpu_run_nothing(b->vm->vcpu);
	xioctl(b->vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &b->events);
	vcpu_set_long(b->vm->vcpu, guest_unblocks, 0);
	RUN_UNTIL_DONE(b->vm->vcpu);
	vm_destroy(b->vm);
}

/* Returns what KVM_SET_VCPU_EVENTS does. */
static int bench_set(struct bench *b, const struct kvm_vcpu_events *e, u64 rflags)
{
	struct kvm_regs regs = b->regs;
	int fd = b->vm->vcpu->fd;

	regs.rflags = rflags;
	*guest_var(b->vm, &vector) = ~0ull;
	vcpu_run_nothing(b->vm->vcpu);
	xioctl(fd, KVM_SET_SREGS, &b->sregs);
	xioctl(fd, KVM_SET_REGS, &regs);
	return kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, (void *)e);
}

static const struct row {
	const char *name;
	bool interrupt, nmi, vmx;
	u8 exception, shadow;
	bool has_error;
	u32 error, pushed;
} rows[] = {
	{ "interrupt, STI", .interrupt = true, .shadow = KVM_X86_SHADOW_INT_STI },
	{ "interrupt, MOV SS", .interrupt = true, .shadow = KVM_X86_SHADOW_INT_MOV_SS },
	{ "interrupt, both", .interrupt = true, .shadow = KVM_X86_SHADOW_INT_STI | KVM_X86_SHADOW_INT_MOV_SS },
	{ "NMI, STI", .nmi = true, .shadow = KVM_X86_SHADOW_INT_STI },
	{ "NMI, MOV SS", .nmi = true, .shadow = KVM_X86_SHADOW_INT_MOV_SS },
	{ "NMI, both", .nmi = true, .shadow = KVM_X86_SHADOW_INT_STI | KVM_X86_SHADOW_INT_MOV_SS },
	{ "#GP, MOV SS", .exception = GP_VECTOR, .has_error = true, .error = 0x18, .pushed = 0x18, .shadow = KVM_X86_SHADOW_INT_MOV_SS },
	{ "#UD with an error code", .vmx = true, .exception = UD_VECTOR, .has_error = true, .error = 0x18 },
	{ "#BP with an error code", .vmx = true, .exception = 3, .has_error = true, .error = 0x18 },
	{ "#GP without one", .vmx = true, .exception = GP_VECTOR, .error = 0x18 },
	{ "#GP, the last selector", .exception = GP_VECTOR, .has_error = true, .error = 0xfff8, .pushed = 0xfff8 },
	{ "#GP with a long one", .vmx = true, .exception = GP_VECTOR, .has_error = true, .error = 0xfffe1234, .pushed = 0x1234 },
};

static u64 delivered(const struct row *r)
{
	return r->interrupt ? VECTOR : r->nmi ? NMI_VECTOR : r->exception;
}

static void run_row(struct bench *b, const struct row *r, bool masked)
{
	struct kvm_vcpu_events e = b->events;
	bool soft = r->exception == 3;
	u64 want = b->regs.rip + soft;

	e.interrupt.injected = r->interrupt;
	e.interrupt.nr = r->interrupt ? VECTOR : 0;
	e.interrupt.shadow = r->shadow;
	e.nmi.injected = r->nmi;
	e.nmi.masked = masked;
	e.exception.injected = !!r->exception;
	e.exception.nr = r->exception;
	e.exception.has_error_code = r->has_error;
	e.exception.error_code = r->error;
	REQUIRE_EQ(bench_set(b, &e, 2 | RFLAGS_IF), 0);
	CHECK_EQ(vcpu_run_raw(b->vm->vcpu), 0);
	if (b->vm->vcpu->run->exit_reason != KVM_EXIT_IO) {
		tap_fail(__FILE__, __LINE__, "%s: exit %u", r->name, b->vm->vcpu->run->exit_reason);
		return;
	}
	/*
	 * An interrupt that userspace sets under a shadow waits for the next instruction. VMRUN of
	 * TCG forgets the shadow.
	 */
	if (r->interrupt && r->shadow && !host_is_tcg())
		want++;
	if (*guest_var(b->vm, &vector) != delivered(r) || *guest_var(b->vm, &rip) != want ||
	    *guest_var(b->vm, &error) != r->pushed)
		tap_fail(__FILE__, __LINE__, "%s: vector %llx, error code %llx, RIP off by %lld",
			 r->name, (long long)*guest_var(b->vm, &vector),
			 (long long)*guest_var(b->vm, &error),
			 (long long)(*guest_var(b->vm, &rip) - want));
}

TEST(events_beside_shadows_and_error_codes)
{
	struct bench b;
	unsigned int i;

	STRATA_ONLY("they go in");
	if (host_is_bochs_svm())
		tap_skip("Bochs ends itself when a guest is stepped");
	bench_init(&b, false);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].vmx && host_is_amd())
			continue;
		run_row(&b, &rows[i], false);
		run_row(&b, &rows[i], true);
	}
	bench_done(&b);
}

/* ---- random states ---- */

static u64 seed;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static bool one_in(unsigned int n)
{
	return !(rnd() % n);
}

/* With an error code as its vector has it, or on VMX in any way */
static void random_exception(struct kvm_vcpu_events *e)
{
	/* SVM refuses vectors that no exception has. */
	static const u8 vectors[] = { 0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19 };
	u8 nr = vectors[rnd() % sizeof(vectors)];

	e->exception.nr = nr;
	e->exception.has_error_code = nr == 8 || (nr >= 10 && nr <= 14) || nr == 17;
	e->exception.error_code = e->exception.has_error_code ? rnd() & 0xffff : 0;
	if (!host_is_amd() && one_in(2)) {
		e->exception.has_error_code = rnd() & 1;
		e->exception.error_code = rnd();
	}
	e->exception.injected = rnd() & 1;
	e->exception.pending = rnd() & 1;
	e->exception_has_payload = nr == DB_VECTOR || nr == PF_VECTOR;
	e->exception_payload = nr == DB_VECTOR ? 1 << (rnd() & 3) | (rnd() & 1) << 14 : rnd() & 0xfffffff;
}

static void random_events(struct kvm_vcpu_events *e, bool strata)
{
	struct strata_events s = { .flags = STRATA_EVENTS_VALID };

	e->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	if (one_in(2))
		random_exception(e);
	e->interrupt.injected = one_in(2);
	e->interrupt.nr = 32 + rnd() % 224;
	e->interrupt.shadow = rnd() & 3;
	e->nmi.injected = one_in(3);
	e->nmi.pending = rnd() % 3;
	e->nmi.masked = rnd() & 1;
	if (!strata)
		return;
	s.delivering_kind = rnd() % 7;
	s.delivering_len = 1 + rnd() % 15;
	s.pending_kind = one_in(2) ? STRATA_EVENT_EXCEPTION + 2 * (rnd() & 1) : 0;
	s.pending_len = 1 + rnd() % 15;
	s.pending_dbg = one_in(3) ? 1 << (rnd() & 3) | (rnd() & 1) << 14 : 0;
	memcpy(e->reserved, &s, sizeof(s));
}

static bool ran(const struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return run->io.port == PORT_HERE;
	case KVM_EXIT_SHUTDOWN:		/* two exceptions that make a triple fault */
		return true;
	default:
		return false;
	}
}

static void run_random(struct bench *b, bool strata, unsigned int round)
{
	u64 rflags = 2 | (one_in(2) ? RFLAGS_IF : 0) | (one_in(3) ? RFLAGS_TF : 0) | (one_in(4) ? RFLAGS_RF : 0), was = seed;
	struct kvm_vcpu_events e = b->events;
	struct kvm_run *run = b->vm->vcpu->run;
	int ret;

	random_events(&e, strata);
	/*
	 * The guest half takes any vector behind a clear IF for one that TCG delivers twice, and
	 * goes on behind it.
	 */
	if (host_is_tcg())
		rflags |= RFLAGS_IF;
	REQUIRE_EQ(bench_set(b, &e, rflags), 0);
	/* None of the guest's pages is mapped then, and the delivery is interrupted. */
	if (one_in(4)) {
		REQUIRE(!mprotect(b->vm->mem, SLOT0_SIZE, PROT_READ));
		REQUIRE(!mprotect(b->vm->mem, SLOT0_SIZE, PROT_READ | PROT_WRITE));
	}
	do {
		ret = vcpu_run_raw(b->vm->vcpu);
	} while (ret == -EINTR);
	if (!ret && ran(run))
		return;
	tap_fail(
		__FILE__, __LINE__,
		"%s: round %u, seed %llu: %d, exit %u %#llx; RFLAGS %llx, exception %u/%u %u, interrupt %u %u, shadow %u, NMI %u/%u/%u",
		strata ? "exact" : "plain", round, (unsigned long long)was, ret, run->exit_reason,
		(unsigned long long)run->fail_entry.hardware_entry_failure_reason,
		(unsigned long long)rflags, e.exception.injected, e.exception.pending,
		e.exception.nr, e.interrupt.injected, e.interrupt.nr, e.interrupt.shadow,
		e.nmi.injected, e.nmi.pending, e.nmi.masked);
}

TEST(random_states)
{
	u64 rounds = env_number("ENTRY_ROUNDS", 1000), i;
	unsigned int strata;
	struct bench b;

	STRATA_ONLY("no entry fails");
	if (host_is_bochs_svm())
		tap_skip("Bochs ends itself when a guest is stepped");
	seed = env_number("ENTRY_SEED", (u64)time(NULL) * 2 + 1);
	tap_note("ENTRY_SEED=%llu", (unsigned long long)seed);
	for (strata = 0; strata < 2; strata++) {
		bench_init(&b, strata);
		for (i = 0; i < rounds; i++)
			run_random(&b, strata, i);
		bench_done(&b);
	}
}
