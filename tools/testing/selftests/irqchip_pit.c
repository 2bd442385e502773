// SPDX-License-Identifier: GPL-2.0
/*
 * What: the PIT's ticks of a time when the guest did not run, with and without reinjection
 * (KVM_REINJECT_CONTROL), also after a change of mode; and its second output, the speaker's.
 * Conditions: KVM_CAP_PIT2, KVM_CAP_REINJECT_CONTROL.
 * Expected: with reinjection the guest has a tick for each period of the host's clock in the end;
 * without it what came while one was pending is lost.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pv.h"

#define VECTOR	0x40
#define HZ	1193182
#define PERIOD	4	/* ms */
#define PAUSE	200	/* ms */

static volatile u64 ticks;

static void on_tick(struct guest_frame *frame __attribute__((unused)))
{
	ticks++;
	out8(0x20, 0x20);
}

static void guest_ticks(void)
{
	u32 count = HZ * PERIOD / 1000;

	out8(0x20, 0x11);
	out8(0x21, VECTOR);
	out8(0x21, 4);
	out8(0x21, 1);
	out8(0x21, 0xfe);
	out8(0x43, 0x34);
	out8(0x40, count);
	out8(0x40, count >> 8);
	guest_sync(0);
	for (;;) {
		asm volatile("sti; hlt; cli");
		guest_sync(ticks);
	}
}

static struct vm *pit_vm(bool reinject)
{
	struct kvm_reinject_control control = { .pit_reinject = reinject };
	struct kvm_pit_config config = { };
	struct vm *vm;

	NEED_CAP(KVM_CAP_PIT2);
	NEED_CAP(KVM_CAP_REINJECT_CONTROL);
	guest_handlers[VECTOR] = on_tick;
	vm = pv_apic_vm(1, guest_ticks);
	xioctl(vm->fd, KVM_CREATE_PIT2, &config);
	xioctl(vm->fd, KVM_REINJECT_CONTROL, &control);
	return vm;
}

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

static u64 run_to_tick(struct vm *vm)
{
	REQUIRE_EQ(vcpu_run(vm->vcpu), RUN_SYNC);
	return vcpu_sync_value(vm->vcpu);
}

/*
 * Runs until the guest has had all ticks that were due but a few: if some are lost for good it
 * never gets there.
 */
static void catch_up(struct vm *vm, u64 start)
{
	while ((run_to_tick(vm) + 3) * PERIOD < now_ms() - start)
		;
}

TEST_TIMEOUT(reinjects, 120)
{
	struct vm *vm = pit_vm(true);
	u64 start, before, i, earliest = now_ms();

	RUN_UNTIL_SYNC(vm->vcpu, 0);
	start = now_ms();
	for (i = 0; i < 3; i++) {
		catch_up(vm, start);
		before = now_ms();
		usleep(PAUSE * 1000);
		CHECK(now_ms() - before >= PAUSE);
	}
	catch_up(vm, start);
	/* And none too many. */
	CHECK(*guest_var(vm, &ticks) <= (now_ms() - earliest) / PERIOD + 2);
	vm_destroy(vm);
}

static void loses(struct vm *vm, u64 start, u64 pauses)
{
	u64 i, n;

	for (i = 0; i < 3; i++) {
		run_to_tick(vm);
		usleep(PAUSE * 1000);
	}
	for (i = 0; i < 5; i++)
		n = run_to_tick(vm);
	/* Of each pause one tick is left. */
	CHECK(n + pauses * (PAUSE / PERIOD - 3) <= (now_ms() - start) / PERIOD + 1);
}

TEST_TIMEOUT(loses_without, 120)
{
	struct vm *vm = pit_vm(false);
	u64 start = now_ms();

	RUN_UNTIL_SYNC(vm->vcpu, 0);
	loses(vm, start, 3);
	vm_destroy(vm);
}

/* What had piled up goes with the mode. */
TEST_TIMEOUT(mode_changes, 120)
{
	struct kvm_reinject_control control = { };
	struct vm *vm = pit_vm(true);
	u64 start = now_ms();

	RUN_UNTIL_SYNC(vm->vcpu, 0);
	run_to_tick(vm);
	usleep(PAUSE * 1000);
	xioctl(vm->fd, KVM_REINJECT_CONTROL, &control);
	loses(vm, start, 3);
	control.pit_reinject = 1;
	xioctl(vm->fd, KVM_REINJECT_CONTROL, &control);
	/* From here on nothing is lost. */
	start = now_ms();
	*guest_var(vm, &ticks) = 0;
	usleep(PAUSE * 1000);
	catch_up(vm, start);
	vm_destroy(vm);
}

TEST(errors)
{
	struct kvm_reinject_control control = { };
	struct vm *vm = vm_create_bare(0);

	NEED_CAP(KVM_CAP_REINJECT_CONTROL);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_REINJECT_CONTROL, &control), -ENXIO);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_REINJECT_CONTROL, NULL), -EFAULT);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_REINJECT_CONTROL, &control), -ENXIO);
	vm_destroy(vm);
}

static void guest_speaks(void)
{
	u64 high = 0, low = 0;

	/* Channel 2, square wave; its gate is bit 0, its output bit 5. */
	out8(0x43, 0xb6);
	out8(0x42, 0);
	out8(0x42, 8);
	out8(0x61, 1);
	GUEST_ASSERT_EQ(in8(0x61) & 3, 1);
	while (!high || !low) {
		if (in8(0x61) & 0x20)
			high++;
		else
			low++;
	}
	out8(0x61, 3);
	GUEST_ASSERT_EQ(in8(0x61) & 3, 3);
	guest_sync(1);
	GUEST_ASSERT_EQ(in8(0x61) & 3, 3);
	/* Without its gate the wave stands still, high. */
	out8(0x61, 0);
	for (high = 0; high < 50; high++)
		GUEST_ASSERT_EQ(in8(0x61) & 0x23, 0x20);
	guest_sync(2);
	in8(0x61);
	guest_done();
}

TEST_TIMEOUT(speaker, 120)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct kvm_pit_state2 s;
	struct vm *vm;

	NEED_CAP(KVM_CAP_PIT2);
	STRATA_ONLY("the output is high without its gate");
	vm = pv_apic_vm(1, guest_speaks);
	xioctl(vm->fd, KVM_CREATE_PIT2, &config);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	xioctl(vm->fd, KVM_GET_PIT2, &s);
	CHECK_EQ(s.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON, KVM_PIT_FLAGS_SPEAKER_DATA_ON);
	CHECK_EQ(s.channels[2].gate, 1);
	CHECK_EQ(s.channels[2].count, 0x800);
	CHECK_EQ(s.channels[2].mode, 3);
	xioctl(vm->fd, KVM_SET_PIT2, &s);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);

	/* Not asked for, the port is userspace's. */
	vm = pv_apic_vm(1, guest_speaks);
	config.flags = 1 << 1;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_CREATE_PIT2, &config), -EINVAL);
	config.flags = 0;
	xioctl(vm->fd, KVM_CREATE_PIT2, &config);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu->run->io.port, 0x61);
	vm_destroy(vm);
}
