// SPDX-License-Identifier: GPL-2.0
/*
 * What: VMRUN under L1's TF and RF, with events for L2 and without; a vCPU that is moved while L2
 * runs.
 * Conditions: guests are offered SVM; not on Bochs' AMD models, which a step of a guest ends.
 * Expected: to L1 VMRUN is one instruction, which the exit (or the refusal) completes: one #DB
 * behind it. L2 knows nothing of it, and has the event that L1 injects, once, and behind its own
 * first instruction the step of its own TF.
 */
#include <errno.h>

#include "emulator.h"
#include "state.h"
#include "svm.h"

#define DR6_STEP 0x4000

static volatile u64 l1_steps, l1_rip, l1_rflags, l1_dr6, l2_steps, l2_step_rip, l2_events;
static volatile bool in_l2;
extern char vmrun_here[], vmrun_behind[];

static u64 read_dr6(void)
{
	u64 value;

	asm volatile("movq %%dr6, %0" : "=r"(value));
	return value;
}

static void on_db(struct guest_frame *f)
{
	f->rflags &= ~RFLAGS_TF;
	if (in_l2) {
		l2_steps++;
		l2_step_rip = f->rip;
		return;
	}
	l1_steps++;
	l1_rip = f->rip;
	l1_rflags = f->rflags;
	l1_dr6 = read_dr6();
}

static void on_event(struct guest_frame *f)
{
	(void)f;
	l2_events++;
}

/* The flags are L1's at the instruction; what L2 leaves in the registers is of no interest. */
static u64 __attribute__((noinline, noclone)) run_with(u64 flags)
{
	l1_steps = l2_steps = l2_events = 0;
	in_l2 = true;
	svm_clgi();
	asm volatile("pushq %%rbp\n\t"
		     "movq %%rsp, %%rcx\n\t"
		     "movl %%ss, %%edx\n\t"
		     "pushq %%rdx\n\t"
		     "pushq %%rcx\n\t"
		     "pushfq\n\t"
		     "orq %1, (%%rsp)\n\t"
		     "movl %%cs, %%edx\n\t"
		     "pushq %%rdx\n\t"
		     "leaq vmrun_here(%%rip), %%rdx\n\t"
		     "pushq %%rdx\n\t"
		     "iretq\n"
		     "vmrun_here:\n\t"
		     "vmrun %%rax\n"
		     "vmrun_behind:\n\t"
		     "popq %%rbp"
		     :
		     : "a"(&svm_vmcb), "r"(flags)
		     : "rcx", "rdx", "rbx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
		       "r14", "memory", "cc");
	return svm_vmcb.exit_code;
}

static void check_step(u64 flags)
{
	GUEST_ASSERT_EQ(l1_steps, !!(flags & RFLAGS_TF));
	if (!l1_steps)
		return;
	GUEST_ASSERT_EQ(l1_rip, (u64)vmrun_behind);
	GUEST_ASSERT_EQ(l1_rflags & RFLAGS_RF, 0);
	GUEST_ASSERT(l1_dr6 & DR6_STEP);
}

static void l2_main(void)
{
	asm volatile("nop; nop; nop");
	in_l2 = false;
	vmmcall();
}

static void run_l2(u64 flags, u32 event)
{
	svm_guest_restart(l2_main);
	svm_vmcb.event_inj = event;
	GUEST_ASSERT_EQ(run_with(flags), SVM_EXIT_VMMCALL);
	check_step(flags);
	GUEST_ASSERT_EQ(l2_steps, 0);
	GUEST_ASSERT_EQ(l2_events, !!event);
	svm_stgi();
}

static void guest_steps(void)
{
	static const u64 flags[] = { 0, RFLAGS_TF, RFLAGS_RF, RFLAGS_TF | RFLAGS_RF };
	unsigned int i;

	svm_guest_init(l2_main);
	for (i = 0; i < 4; i++) {
		run_l2(flags[i], 0);
		run_l2(flags[i], INJ_VALID | INJ_EXCEPTION | UD_VECTOR);
		run_l2(flags[i], INJ_VALID | INJ_EXCEPTION | INJ_ERROR | GP_VECTOR);
		run_l2(flags[i], INJ_VALID | INJ_NMI);
	}
	/* L2's own, beside L1's */
	svm_guest_restart(l2_main);
	svm_vmcb.rflags |= RFLAGS_TF;
	GUEST_ASSERT_EQ(run_with(RFLAGS_TF), SVM_EXIT_VMMCALL);
	check_step(RFLAGS_TF);
	GUEST_ASSERT_EQ(l2_steps, 1);
	GUEST_ASSERT(l2_step_rip > (u64)l2_main);
	svm_stgi();
	/* A refusal completes it, too. */
	svm_guest_restart(l2_main);
	svm_vmcb.rflags &= ~RFLAGS_TF;
	svm_vmcb.asid = 0;
	GUEST_ASSERT_EQ(run_with(0), SVM_INVALID);
	in_l2 = false;
	guest_done();
}

static void guest_refused(void)
{
	svm_guest_init(l2_main);
	svm_vmcb.asid = 0;
	run_with(RFLAGS_TF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_code, SVM_INVALID);
	GUEST_ASSERT_EQ(l2_steps, 1);	/* to the handler, as nothing said that L2 is over */
	GUEST_ASSERT_EQ(l2_step_rip, (u64)vmrun_behind);
	guest_done();
}

static void l2_stops(void)
{
	out32(0x80, 1);
	in_l2 = false;
	vmmcall();
}

static void guest_moved(void)
{
	svm_guest_init(l2_stops);
	GUEST_ASSERT_EQ(run_with(RFLAGS_TF), SVM_EXIT_VMMCALL);
	check_step(RFLAGS_TF);
	GUEST_ASSERT_EQ(l2_steps, 0);
	guest_done();
}

static const struct vm_config config = { .nr_vcpus = 1, .payload = true, .triple_fault = true, .strata_events = true };

static struct vm *start(void (*fn)(void))
{
	struct vm *vm;

	need_svm();
	if (host_is_bochs_svm())
		tap_skip("a step of a guest ends Bochs");
	STRATA_ONLY("the step behind VMRUN is L1's");
	vm = vm_create_with(&config, NULL);
	*guest_var(vm, &guest_handlers[DB_VECTOR]) = on_db;
	*guest_var(vm, &guest_handlers[UD_VECTOR]) = on_event;
	*guest_var(vm, &guest_handlers[GP_VECTOR]) = on_event;
	*guest_var(vm, &guest_handlers[NMI_VECTOR]) = on_event;
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void run_to_end(void (*fn)(void))
{
	struct vm *vm = start(fn);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

TEST(entry_is_one_instruction)
{
	run_to_end(guest_steps);
}

TEST(refused_entry)
{
	run_to_end(guest_refused);
}

TEST(moved_while_l2_runs)
{
	struct vm *vm = start(guest_moved), *other = vm_create_with(&config, vm);
	static struct vm_state image;
	u8 order[NR_PARTS];
	unsigned int i;

	for (i = 0; i < NR_PARTS; i++)
		order[i] = i;
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu_run_nothing(vm->vcpu), -EINTR);
	state_save(vm, &config, order, &image);
	state_restore(other, &config, order, false, &image);
	RUN_UNTIL_DONE(other->vcpu);
	vm_destroy(other);
	vm_destroy(vm);
}
