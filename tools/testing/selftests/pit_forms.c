// SPDX-License-Identifier: GPL-2.0
/*
 * What: the PIT's older ioctls: KVM_CREATE_PIT, KVM_GET_PIT, KVM_SET_PIT.
 * Conditions: KVM_CAP_PIT.
 * Expected: the channels are those of the newer forms; the speaker's port is there; what the older
 * image does not carry stays; documented errnos.
 */
#include <errno.h>
#include <string.h>

#include "cpu.h"

static void guest_programs(void)
{
	out8(0x43, 0xb6);
	out8(0x42, 0x34);
	out8(0x42, 0x12);
	out8(0x61, 3);
	GUEST_ASSERT_EQ(in8(0x61) & 3, 3);
	guest_sync(1);
	GUEST_ASSERT_EQ(in8(0x61) & 3, 3);
	guest_done();
}

static void no_pit(struct vm *vm)
{
	struct kvm_pit_state s = { };

	CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_PIT, &s), -ENXIO);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_PIT, &s), -ENXIO);
}

TEST(old_forms)
{
	struct kvm_pit_config config = { };
	struct kvm_pit_state2 newer;
	struct kvm_pit_state older;
	struct vm *vm;

	NEED_CAP(KVM_CAP_PIT);
	vm = vm_create(0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_CREATE_PIT, NULL), -ENOENT);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	no_pit(vm);
	xioctl(vm->fd, KVM_CREATE_PIT, 0);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_CREATE_PIT, NULL), -EEXIST);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_CREATE_PIT2, &config), -EEXIST);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, supported_cpuid(vm->kvm));
	vcpu_set_long(vm->vcpu, guest_programs, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);

	xioctl(vm->fd, KVM_GET_PIT, &older);
	xioctl(vm->fd, KVM_GET_PIT2, &newer);
	CHECK_EQ(older.channels[2].count, 0x1234);
	CHECK_EQ(older.channels[2].mode, 3);
	CHECK_EQ(older.channels[2].gate, 1);
	CHECK_EQ(newer.channels[2].count, 0x1234);
	CHECK_EQ(newer.flags, KVM_PIT_FLAGS_SPEAKER_DATA_ON);

	older.channels[2].count = 0x4321;
	xioctl(vm->fd, KVM_SET_PIT, &older);
	xioctl(vm->fd, KVM_GET_PIT2, &newer);
	CHECK_EQ(newer.channels[2].count, 0x4321);
	CHECK_EQ(newer.flags, KVM_PIT_FLAGS_SPEAKER_DATA_ON);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_PIT, NULL), -EFAULT);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_PIT, NULL), -EFAULT);
	older.channels[0].rw_mode = 9;
	if (on_strata())
		CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_PIT, &older), -EINVAL);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
