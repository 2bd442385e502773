// SPDX-License-Identifier: GPL-2.0
/*
 * What: KVM_RUN that ends for a signal while the guest is in an interrupt shadow, before
 * instructions of several kinds.
 * Conditions: the module's parameter leave_shadows; on VMX, the preemption timer.
 * Expected: one more instruction is executed if nothing comes in between, with no trace of how it
 * is done, and there is no shadow any more. One that exits to userspace is reported, with the
 * shadow. Under immediate_exit nothing is executed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "cpu.h"
#include "emulator.h"
#include "power.h"

#define TRIES	20

extern char plain[], cli[], pushf[], cpuid_at[], touch[], in[], out[];
static volatile u64 touched;

/* Never called: a page of instructions to be stopped at. */
static __attribute__((used, noinline)) void instructions(void)
{
	asm volatile("plain: lea 1(%rbx), %rbx; nop; nop\n"
		     "cli: cli; nop; nop\n"
		     "pushf: pushfq; nop; nop\n"
		     "cpuid_at: cpuid; nop; nop\n"
		     "touch: mov %rbx, touched; nop; nop\n"
		     "in: in $0x98, %al; nop; nop\n"
		     "out: out %al, $0x99; nop; nop\n");
}

struct stopped {
	struct vm *vm;
	struct kvm_regs regs;
	struct kvm_vcpu_events events;
	int run;
};

static void stop_at(struct stopped *s, const char *rip, u64 rflags, u8 shadow, bool immediate)
{
	struct {
		struct kvm_signal_mask head;
		u8 set[8];
	} mask = { .head.len = 8 };
	struct timespec zero = { 0 };
	struct vcpu *vcpu = s->vm->vcpu;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	REQUIRE_EQ(kvm_ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, &mask), 0);
	xioctl(vcpu->fd, KVM_GET_REGS, &s->regs);
	s->regs.rip = (u64)rip;
	s->regs.rflags = rflags;
	s->regs.rbx = 0x1000;
	xioctl(vcpu->fd, KVM_SET_REGS, &s->regs);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &s->events);
	s->events.interrupt.shadow = shadow;
	s->events.flags |= KVM_VCPUEVENT_VALID_SHADOW;
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &s->events);
	pthread_kill(pthread_self(), SIGUSR1);
	vcpu->run->immediate_exit = immediate;
	s->run = vcpu_run_raw(vcpu);
	vcpu->run->immediate_exit = 0;
	CHECK_EQ(sigtimedwait(&set, NULL, &zero), SIGUSR1);
	xioctl(vcpu->fd, KVM_GET_REGS, &s->regs);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &s->events);
}

static void need_parameter(void)
{
	char text[8];

	if (!sysfs_read("/sys/module/strata/parameters/leave_shadows", text, sizeof(text)) ||
	    *text != 'Y')
		tap_skip("leave_shadows is off");
}

static void begin(struct stopped *s)
{
	STRATA_ONLY("what ends for a signal");
	s->vm = vm_create(1);
	/* Through all of them, so that no page is touched first later. */
	vcpu_set_long(s->vm->vcpu, instructions, 0);
	RUN_UNTIL(s->vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(s->vm->vcpu->run->io.port, 0x98);
	RUN_UNTIL(s->vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(s->vm->vcpu->run->io.port, 0x99);
}

/*
 * A host interrupt may come before the instruction: then all is as it was (but for QEMU's TCG,
 * which forgets a shadow at an exit).
 */
static void stop_behind(struct stopped *s, const char *rip, u64 rflags, u8 shadow)
{
	int i;

	need_parameter();
	begin(s);
	for (i = 0; i < TRIES; i++) {
		stop_at(s, rip, rflags, shadow, false);
		if (!s->run || s->regs.rip != (u64)rip)
			return;
		CHECK(s->events.interrupt.shadow || host_is_tcg());
	}
}

static void check_behind(const char *rip, u8 len, u64 rflags, u8 shadow, u64 after)
{
	struct stopped s;

	stop_behind(&s, rip, rflags, shadow);
	CHECK_EQ(s.run, -EINTR);
	CHECK_EQ(s.regs.rip, (u64)rip + len);
	CHECK_EQ(s.regs.rflags, after);
	CHECK_EQ(s.events.interrupt.shadow, 0);
	if (rip == pushf)
		CHECK_EQ(*guest_var(s.vm, (u64 *)s.regs.rsp), rflags);
	if (rip == plain)
		CHECK_EQ(s.regs.rbx, 0x1001);
	if (rip == touch)
		CHECK_EQ(*guest_var(s.vm, &touched), 0x1000);
	vm_destroy(s.vm);
}

#define OFF	RFLAGS_FIXED
#define ON	(RFLAGS_FIXED | RFLAGS_IF)
#define STI	KVM_X86_SHADOW_INT_STI
#define MOV_SS	KVM_X86_SHADOW_INT_MOV_SS

TEST(plain_instruction) { check_behind(plain, 4, ON, STI, ON); }
TEST(interrupts_off) { check_behind(plain, 4, OFF, MOV_SS, OFF); }

/* On VMX the window stays closed: the guest is left when the timer expires, or by itself. */
TEST(closed_by_itself)
{
	struct stopped s;

	stop_behind(&s, cli, ON, STI);
	CHECK(s.regs.rip > (u64)cli);
	CHECK_EQ(s.regs.rflags, OFF);
	if (host_is_amd())
		CHECK_EQ(s.regs.rip, (u64)cli + 1);
	vm_destroy(s.vm);
}

TEST(flags_saved) { check_behind(pushf, 1, ON, STI, ON); }
TEST(exit_for_the_kernel) { check_behind(cpuid_at, 2, ON, STI, ON); }
TEST(memory) { check_behind(touch, 8, ON, STI, ON); }

TEST(exit_to_userspace)
{
	struct stopped s;

	stop_behind(&s, out, ON, STI);
	CHECK_EQ(s.run, 0);
	CHECK_EQ(s.vm->vcpu->run->exit_reason, KVM_EXIT_IO);
	vm_destroy(s.vm);
}

/* An IN is not over: its exit is reported in front of it, where the shadow is. */
TEST(exit_under_the_shadow)
{
	struct stopped s;

	stop_behind(&s, in, ON, STI);
	CHECK_EQ(s.run, 0);
	CHECK_EQ(s.vm->vcpu->run->exit_reason, KVM_EXIT_IO);
	CHECK_EQ(s.regs.rip, (u64)in);
	CHECK(s.events.interrupt.shadow || host_is_tcg());
	vm_destroy(s.vm);
}

TEST(immediate_exit)
{
	struct stopped s;

	begin(&s);
	stop_at(&s, plain, ON, STI, true);
	CHECK_EQ(s.run, -EINTR);
	CHECK_EQ(s.regs.rip, (u64)plain);
	CHECK(s.events.interrupt.shadow);
	vm_destroy(s.vm);
}
