// SPDX-License-Identifier: GPL-2.0
/*
 * Running the programs and disturbing them; see torture.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../../include/uapi/linux/strata.h"
#include "emulator.h"
#include "param.h"
#include "torture.h"

#define STUCK_MAX 8

bool program_fits(const struct program *p)
{
	const char *why = p->unfit ? p->unfit() : NULL;

	if (why)
		tap_note("left out: %s: %s", p->name, why);
	return !why;
}

static struct vcpu *running(struct bench *b)
{
	return &b->vm->vcpu[b->cpu];
}

/* ---- the log ---- */

static void log_add(struct bench *b, u32 kind, u64 addr, u64 data)
{
	if (b->log->n < LOG_MAX)
		b->log->entry[b->log->n++] = (struct log_entry){ kind, addr, data };
}

static bool same_log(const struct bench *b)
{
	return b->log->n == b->expected->n &&
	       !memcmp(b->log->entry, b->expected->entry, b->log->n * sizeof(b->log->entry[0]));
}

static void show_log(const struct bench *b)
{
	const struct run_log *x = b->expected, *y = b->log;
	unsigned int i;

	for (i = 0;
	     i < x->n && i < y->n && !memcmp(&x->entry[i], &y->entry[i], sizeof(x->entry[i])); i++)
		;
	if (i == x->n && i == y->n)
		return;
	tap_fail(
		__FILE__, __LINE__,
		"%s: entry %u of the log, of %u (%u): exit %u addr %#llx data %#llx instead of exit %u addr %#llx data %#llx",
		b->program->name, i, y->n, x->n, y->entry[i].kind,
		(unsigned long long)y->entry[i].addr, (unsigned long long)y->entry[i].data,
		x->entry[i].kind, (unsigned long long)x->entry[i].addr,
		(unsigned long long)x->entry[i].data);
}

/* Where the guest's own record of events parts from the undisturbed one's. */
static void show_trace(const struct bench *b)
{
	const struct trace *x = &b->expected_trace,
			   *y = (struct trace *)guest_var(b->origin, &trace);
	u64 i, j;

	for (i = 0; i < x->n && i < y->n && i < TRACE_MAX &&
		    !memcmp(&x->entry[i], &y->entry[i], sizeof(x->entry[i]));
	     i++)
		;
	for (j = i ? i - 1 : 0; j < i + 3 && j < TRACE_MAX; j++) {
		const struct trace_entry *e = &y->entry[j], *w = &x->entry[j];

		tap_note(
			"event %llu: vector %llu error %#llx rip %#llx rflags %#llx rsp %#llx cr2 %#llx dr6 %#llx",
			(unsigned long long)j, (unsigned long long)e->vector,
			(unsigned long long)e->error, (unsigned long long)e->rip,
			(unsigned long long)e->rflags, (unsigned long long)e->rsp,
			(unsigned long long)e->cr2, (unsigned long long)e->dr6);
		tap_note(
			"  expected: vector %llu error %#llx rip %#llx rflags %#llx rsp %#llx cr2 %#llx dr6 %#llx",
			(unsigned long long)w->vector, (unsigned long long)w->error,
			(unsigned long long)w->rip, (unsigned long long)w->rflags,
			(unsigned long long)w->rsp, (unsigned long long)w->cr2,
			(unsigned long long)w->dr6);
	}
}

/* ---- what the host does ---- */

static void interrupt(struct bench *b, u8 vector)
{
	struct kvm_interrupt irq = { .irq = vector };

	xioctl(running(b)->fd, KVM_INTERRUPT, &irq);
}

static void pulse_line(struct bench *b, u8 gsi)
{
	struct kvm_irq_level level = { .irq = gsi & 0x7f };

	level.level = 1;
	xioctl(b->vm->fd, KVM_IRQ_LINE, &level);
	level.level = 0;
	xioctl(b->vm->fd, KVM_IRQ_LINE, &level);
}

static void act(struct bench *b, u32 what)
{
	struct kvm_run *run = running(b)->run;
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = what & 0xff };
	struct kvm_userspace_memory_region r;
	u8 arg = what;

	switch (what & ACT_MASK) {
	case ACT_DROP:
		vm_drop_pages(b->vm, arg);
		break;
	case ACT_SLOTS:
		r = b->vm->slot[0];
		REQUIRE_EQ(vm_set_slot(b->vm, 0, 0, r.guest_phys_addr, 0, NULL), 0);
		REQUIRE_EQ(vm_set_slot(b->vm, 0, 0, r.guest_phys_addr, r.memory_size, (void *)r.userspace_addr), 0);
		break;
	case ACT_INTERRUPT:
		interrupt(b, arg);
		break;
	case ACT_WINDOW:
		b->window = arg;
		run->request_interrupt_window = 1;
		break;
	case ACT_NMI:
		while (arg--)
			xioctl(running(b)->fd, KVM_NMI, NULL);
		break;
	case ACT_WAKE:
		b->wake = arg;
		break;
	case ACT_LINE:
		pulse_line(b, arg);
		break;
	case ACT_MSI:
		REQUIRE(xioctl(b->vm->fd, KVM_SIGNAL_MSI, &msi) >= 0);
		break;
	case ACT_SMI:
		xioctl(running(b)->fd, KVM_SMI, NULL);
		break;
	case ACT_NEXT:
		REQUIRE(arg < b->config.nr_vcpus);
		b->cpu = arg;
		b->stuck = 0;
		break;
	default:
		REQUIRE(what == 0);
	}
}

/* ---- exits to userspace ---- */

enum served { SERVED, IN_PROGRESS, ENDED };

/* What a device answers depends on where it is asked only. */
static u64 device(u64 addr)
{
	return (addr + 1) * 0x9e3779b97f4a7c15ull;
}

static enum served serve_io(struct bench *b, struct kvm_run *run)
{
	u8 *data = RUN_IO_DATA(running(b));
	u64 value;
	u32 i;

	for (i = 0; i < run->io.count; i++, data += run->io.size) {
		value = device(run->io.port);
		if (run->io.direction == KVM_EXIT_IO_IN) {
			memcpy(data, &value, run->io.size);
			value = 0;
		} else {
			value = 0;
			memcpy(&value, data, run->io.size);
		}
		log_add(b, KVM_EXIT_IO,
			run->io.port | (u64)run->io.direction << 32 | (u64)run->io.size << 40,
			value);
	}
	return run->io.direction == KVM_EXIT_IO_IN || run->io.port == PORT_STRING ? IN_PROGRESS : SERVED;
}

static enum served serve_port(struct bench *b, struct kvm_run *run)
{
	enum served s = serve_io(b, run);

	switch (run->io.port) {
	case PORT_ACT:
		act(b, *(u32 *)RUN_IO_DATA(running(b)));
		return SERVED;
	case PORT_DONE:
		return ENDED;
	case PORT_ASSERT:	/* of the guest: the log says so */
	case PORT_EXCEPTION:
		return ENDED;
	default:
		return s;
	}
}

static enum served serve_mmio(struct bench *b, struct kvm_run *run)
{
	u64 value = 0;

	if (run->mmio.is_write)
		memcpy(&value, run->mmio.data, run->mmio.len);
	log_add(b, KVM_EXIT_MMIO,
		run->mmio.phys_addr | (u64)run->mmio.len << 48 | (u64)run->mmio.is_write << 56,
		value);
	value = device(run->mmio.phys_addr);
	if (!run->mmio.is_write)
		memcpy(run->mmio.data, &value, run->mmio.len);
	return IN_PROGRESS;
}

static enum served serve_msr(struct bench *b, struct kvm_run *run, bool write)
{
	log_add(b, run->exit_reason, run->msr.index, write ? run->msr.data : 0);
	run->msr.error = run->msr.index != MSR_UNKNOWN;
	if (!write)
		run->msr.data = device(run->msr.index);
	return IN_PROGRESS;
}

static enum served serve_hlt(struct bench *b)
{
	log_add(b, KVM_EXIT_HLT, 0, 0);
	if (b->wake)
		interrupt(b, b->wake);
	b->wake = 0;
	return SERVED;
}

static enum served serve_window(struct bench *b, struct kvm_run *run)
{
	log_add(b, KVM_EXIT_IRQ_WINDOW_OPEN, run->if_flag, 0);
	run->request_interrupt_window = 0;
	if (b->window)
		interrupt(b, b->window);
	b->window = 0;
	return SERVED;
}

static void die_of(struct bench *b, struct kvm_run *run)
{
	struct kvm_regs regs;

	xioctl(running(b)->fd, KVM_GET_REGS, &regs);
	tap_die(__FILE__, __LINE__, "%s: exit %u suberror %u data %#llx %#llx, rip %#llx",
		b->program->name, run->exit_reason, run->internal.suberror, run->internal.data[0],
		run->internal.data[1], regs.rip);
}

static u64 regs_hash(struct bench *b)
{
	struct kvm_regs regs;
	u64 h = 0;
	u32 i;

	xioctl(running(b)->fd, KVM_GET_REGS, &regs);
	for (i = 0; i < sizeof(regs) / 8; i++)
		h = (h ^ ((u64 *)&regs)[i]) * 0x100000001b3ull + (h >> 31);
	return h;
}

/* An instruction that is still in progress is told from the next one by its registers. */
static void note_instruction(struct bench *b)
{
	u64 regs = regs_hash(b);

	if (regs == b->mark_regs)
		return;
	b->mark_regs = regs;
	b->mark = b->log->n;
}

static enum served serve(struct bench *b)
{
	struct kvm_run *run = running(b)->run;

	note_instruction(b);
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return serve_port(b, run);
	case KVM_EXIT_MMIO:
		return serve_mmio(b, run);
	case KVM_EXIT_X86_RDMSR:
		return serve_msr(b, run, false);
	case KVM_EXIT_X86_WRMSR:
		return serve_msr(b, run, true);
	case KVM_EXIT_HLT:
		return serve_hlt(b);
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return serve_window(b, run);
	case KVM_EXIT_SET_TPR:
		return SERVED;
	case KVM_EXIT_SHUTDOWN:
		log_add(b, KVM_EXIT_SHUTDOWN, 0, 0);
		return ENDED;
	default:
		die_of(b, run);
		return ENDED;
	}
}

/* ---- points ---- */

/* Userspace has served everything: the instruction is completed, and nothing is executed. */
static enum served complete(struct bench *b)
{
	struct vcpu *vcpu = running(b);
	enum served s = SERVED;
	int r;

	vcpu->run->immediate_exit = 1;
	do {
		r = vcpu_run_raw(vcpu);
		if (!r)
			s = serve(b);
	} while (!r && s == IN_PROGRESS);
	vcpu->run->immediate_exit = 0;
	REQUIRE(!r || r == -EINTR);
	b->mark_regs = 0;
	return s;
}

static struct vm *pick_target(struct bench *b, struct torture *t, bool *fresh)
{
	u64 r = next_random(&t->seed) >> 40;

	*fresh = t->fresh_points * t->wanted <= t->points * t->wanted_fresh && t->wanted_fresh;
	if (*fresh)
		return vm_create_with(&b->config, b->origin);
	/* Over another one, and sometimes over itself. */
	return r % 8 ? b->live[b->vm == b->live[0]] : b->vm;
}

static void move(struct bench *b, struct vm *to, bool fresh)
{
	if (to == b->vm)
		return;
	to->vcpu[b->cpu].run->request_interrupt_window = running(b)->run->request_interrupt_window;
	if (b->fresh)
		vm_destroy(b->vm);
	b->vm = to;
	b->fresh = fresh;
}

/* The vCPU goes to another VM, or is written over itself. */
static bool point(struct bench *b, struct torture *t)
{
	unsigned int differs;
	u8 order[NR_PARTS];
	struct vm *to;
	bool fresh;

	state_shuffle(&t->seed, order);
	state_save(b->vm, &b->config, order, b->image);
	to = pick_target(b, t, &fresh);
	state_shuffle(&t->seed, order);
	state_restore(to, &b->config, order, next_random(&t->seed) >> 63, b->image);
	state_save(to, &b->config, NULL, b->got);
	differs = state_differs(b->program->name, &b->config, b->image, b->got);
	t->points++;
	t->fresh_points += fresh;
	move(b, to, fresh && to != b->vm);
	return !differs;
}

static u32 exit_kind(const struct kvm_run *run)
{
	return run->exit_reason == STRATA_EXIT_EACH ? run->hw.hardware_exit_reason : COVER_USER | run->exit_reason;
}

/*
 * After STUCK_MAX points without progress the guest runs until there is some: a new VM has no page
 * of it mapped.
 */
static bool wants_point(struct bench *b, struct torture *t, bool first)
{
	u64 regs = regs_hash(b);

	b->stuck = regs == b->stuck_regs ? b->stuck + 1 : 0;
	b->stuck_regs = regs;
	if (t->hunt)
		return first;
	return b->stuck < STUCK_MAX && (first || next_random(&t->seed) >> 63);
}

/* With signals: they alone are points, and the order is QEMU's. */
static bool signal_stop(struct bench *b, struct torture *t)
{
	struct vm *to = b->live[b->vm == b->live[0]];

	t->points++;
	state_save(b->vm, &b->config, NULL, b->image);
	state_restore(to, &b->config, state_qemu_order, false, b->image);
	move(b, to, false);
	return true;
}

/* Of all vCPUs: those that do not run have events waiting, too. */
static u32 queue_columns(struct bench *b)
{
	struct kvm_vcpu_events e;
	u32 set = 0;
	unsigned int i;

	for (i = 0; i < b->config.nr_vcpus; i++) {
		xioctl(b->vm->vcpu[i].fd, KVM_GET_VCPU_EVENTS, &e);
		set |= cover_columns(&e);
	}
	return set == 1u << COL_IDLE ? set : set & ~(1u << COL_IDLE);
}

static bool is_nested(const struct bench *b)
{
	return b->program >= nested_programs && b->program < nested_programs + nr_nested_programs;
}

/*
 * Whether L2 ran, which is part of the exit's kind; and the column for an event of L1's that has
 * still to go into L2.
 */
static u32 nested_columns(struct bench *b)
{
	struct kvm_nested_state *n = &b->got->vcpu[b->cpu].nested;
	const u32 *event_inj = (u32 *)((u8 *)(n + 1) + 0xa8);

	if (!is_nested(b))
		return 0;
	n->size = NESTED_MAX;
	xioctl(running(b)->fd, KVM_GET_NESTED_STATE, n);
	b->kind |= n->flags & KVM_STATE_NESTED_GUEST_MODE ? COVER_L2 : 0;
	return (n->flags & KVM_STATE_NESTED_RUN_PENDING) && *event_inj >> 31 ? 1u << COL_L1S : 0;
}

/* False: the run is over. */
static bool stop(struct bench *b, struct torture *t, enum served s, bool *ok)
{
	u32 columns = queue_columns(b) | nested_columns(b);

	t->stops++;
	if (!t->observe && !wants_point(b, t, cover_lacks(t->cover, b->kind, columns)))
		return true;
	cover_note(t->cover, b->kind, columns);
	if (t->observe)
		return true;
	if (s == IN_PROGRESS && !(next_random(&t->seed) >> 62)) {
		/* Not completed: the instruction is done again, all of it. */
		b->log->n = b->mark;
		b->mark_regs = 0;
		t->repeats++;
	} else if (s == IN_PROGRESS && complete(b) == ENDED) {
		return false;
	}
	*ok = point(b, t) && *ok;
	return true;
}

static void start(struct bench *b)
{
	u8 order[NR_PARTS];
	unsigned int i;

	for (i = 0; i < NR_PARTS; i++)
		order[i] = i;
	ram_restore(b->origin, &b->ram);
	state_restore(b->vm, &b->config, order, true, b->birth);
	for (i = 0; i < b->config.nr_vcpus; i++)
		b->vm->vcpu[i].run->request_interrupt_window = 0;
	b->cpu = 0;
	b->log->n = b->mark = 0;
	b->mark_regs = b->stuck_regs = 0;
	b->window = b->wake = 0;
	b->stuck = 0;
}

/* To the end; with @t disturbed. */
static bool go(struct bench *b, struct torture *t)
{
	enum served s = SERVED;
	bool ok = true;
	int r;

	start(b);
	for (;;) {
		r = vcpu_run_raw(running(b));
		if (r == -EAGAIN || (r == -EINTR && !b->signals))
			continue;
		REQUIRE(!r || r == -EINTR);
		b->kind = exit_kind(running(b)->run);
		s = r == -EINTR || running(b)->run->exit_reason == STRATA_EXIT_EACH ? SERVED : serve(b);
		if (s == SERVED)
			b->mark_regs = 0;
		if (s == ENDED || b->log->n == LOG_MAX)
			return ok;
		if (t && (b->signals ? r == -EINTR && !signal_stop(b, t) : !stop(b, t, s, &ok)))
			return ok;
	}
}

/*
 * What is below the stack pointer is no state. On QEMU's TCG, which delivers an injected interrupt
 * twice at times, it may differ; the guest ignores the second.
 */
static u64 final_digest(struct bench *b)
{
	u8 *mem = b->origin->mem;
	struct kvm_regs regs;
	unsigned int i;
	u64 stack;

	for (i = 0; host_is_tcg() && i < b->config.nr_vcpus; i++) {
		stack = GPA_STACKS + i * STACK_SIZE;
		xioctl(b->vm->vcpu[i].fd, KVM_GET_REGS, &regs);
		/* L1's stack pointer is not to be seen while L2 runs. */
		if (is_nested(b))
			memset(mem + stack, 0, STACK_SIZE);
		else if (regs.rsp > stack && regs.rsp <= stack + STACK_SIZE)
			memset(mem + stack, 0, regs.rsp - stack);
		memset(mem + FAULT_STACK - 4096, 0, 4096);
	}
	return ram_digest(b->origin);
}

static bool ended_alike(struct bench *b, u64 digest)
{
	return same_log(b) && digest == b->expected_digest;
}

static void show_difference(struct bench *b, u64 digest)
{
	show_log(b);
	if (digest != b->expected_digest) {
		tap_fail(__FILE__, __LINE__, "%s: memory at the end differs", b->program->name);
		ram_show(b->origin, &b->expected_ram);
	}
	show_trace(b);
}

/*
 * What QEMU's TCG does wrong now and then it does not do again at the same place: there a run that
 * ends differently has a second try with the same seed.
 */
bool bench_run(struct bench *b, struct torture *t)
{
	u64 seed = t->seed, digest;
	bool ok = go(b, t);

	t->runs++;
	digest = final_digest(b);
	if (ok && !ended_alike(b, digest) && host_is_tcg()) {
		t->second_tries++;
		t->seed = seed;
		ok = go(b, t);
		digest = final_digest(b);
	}
	if (!ended_alike(b, digest)) {
		show_difference(b, digest);
		ok = false;
	}
	t->mismatches += !ok;
	return ok;
}

/* Not by an assertion of the guest's */
static bool ended_well(struct bench *b)
{
	const struct log_entry *last = &b->expected->entry[b->expected->n - 1];
	const struct guest_cpu *cpu = vcpu_report(&b->origin->vcpu[b->cpu]);

	if (last->kind == KVM_EXIT_SHUTDOWN || (u16)last->addr == PORT_DONE)
		return true;
	tap_note(
		"%s: the undisturbed run ended at exit %u, %#llx %#llx; vector %llu error %#llx rip %#llx",
		b->program->name, last->kind & 0xffff, (unsigned long long)last->addr,
		(unsigned long long)last->data, (unsigned long long)cpu->vector,
		(unsigned long long)cpu->error, (unsigned long long)cpu->rip);
	for (u64 i = b->expected_trace.n > 6 ? b->expected_trace.n - 6 : 0; i < b->expected_trace.n; i++) {
		const struct trace_entry *e = &b->expected_trace.entry[i % TRACE_MAX];

		tap_note(
			"event %llu: vector %#llx error %#llx rip %#llx rflags %#llx rsp %#llx cr2 %#llx dr6 %#llx",
			(unsigned long long)i, (unsigned long long)e->vector,
			(unsigned long long)e->error, (unsigned long long)e->rip,
			(unsigned long long)e->rflags, (unsigned long long)e->rsp,
			(unsigned long long)e->cr2, (unsigned long long)e->dr6);
	}
	return false;
}

/*
 * The undisturbed run, on a VM that does not even stop: twice, and again if an emulator's slip
 * makes them differ.
 */
static void run_undisturbed(struct bench *b)
{
	struct run_log *log;
	unsigned int tries;

	for (tries = 0; tries < 5; tries++) {
		go(b, NULL);
		if (ended_alike(b, final_digest(b)) && tries) {
			REQUIRE(ended_well(b));
			return;
		}
		b->expected_digest = final_digest(b);
		ram_save(b->origin, &b->expected_ram);
		memcpy(&b->expected_trace, gpa_to_host(b->origin, (u64)&trace), sizeof(trace));
		log = b->expected;
		b->expected = b->log;
		b->log = log;
	}
	tap_die(__FILE__, __LINE__, "%s: no two undisturbed runs are alike", b->program->name);
}

static bool forced(void)
{
	return env_number("TORTURE_FORCED", 0);
}

/*
 * With every exception intercepted that can be, still undisturbed: the guest sees the same. QEMU's
 * TCG pushes no RF for a fault, but strata does for one that it forwards; so there the memory to
 * compare with is that of this run.
 */
static void run_forced(struct bench *b)
{
	const struct trace *now = (struct trace *)guest_var(b->origin, &trace);
	unsigned int tries;
	u64 digest = 0;

	b->vm = vm_create_with(&b->config, b->origin);
	for (tries = 0; tries < 5; tries++) {
		u64 last = digest;

		go(b, NULL);
		digest = final_digest(b);
		if (same_log(b) && !memcmp(now, &b->expected_trace, sizeof(*now)) &&
		    (tries && digest == last))
			break;
	}
	if (tries == 5) {
		show_difference(b, b->expected_digest);
		tap_die(__FILE__, __LINE__, "%s: not the same with exceptions intercepted",
			b->program->name);
	}
	if (host_is_tcg()) {
		b->expected_digest = digest;
		ram_save(b->origin, &b->expected_ram);
	}
	REQUIRE_EQ(digest, b->expected_digest);
	vm_destroy(b->vm);
	b->vm = b->origin;
}

struct bench *bench_open(const struct program *program, bool each)
{
	struct bench *b = calloc(1, sizeof(*b));
	unsigned int i;

	b->program = program;
	b->config = program->config;
	b->birth = calloc(3, sizeof(*b->birth));
	b->image = b->birth + 1;
	b->got = b->birth + 2;
	b->log = calloc(2, sizeof(*b->log));
	b->expected = b->log + 1;
	b->origin = vm_create_with(&b->config, NULL);
	program->setup(b->origin);
	ram_save(b->origin, &b->ram);
	state_save(b->origin, &b->config, NULL, b->birth);
	b->vm = b->origin;
	run_undisturbed(b);
	if (forced()) {
		param_write(FORCE_PARAM, ~0u);
		run_forced(b);
	}
	b->config.each = each;
	for (i = 0; i < 2; i++)
		b->live[i] = vm_create_with(&b->config, b->origin);
	b->vm = b->live[0];
	return b;
}

void bench_close(struct bench *b)
{
	if (forced())
		param_write(FORCE_PARAM, 0);
	if (b->fresh)
		vm_destroy(b->vm);
	vm_destroy(b->live[0]);
	vm_destroy(b->live[1]);
	vm_destroy(b->origin);
	free(b->ram.bytes);
	free(b->expected_ram.bytes);
	free(b->log < b->expected ? b->log : b->expected);
	free(b->birth);
	free(b);
}
