// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_GET_NESTED_STATE and KVM_SET_NESTED_STATE: what does not depend on the format.
 */
#include "nested.h"
#include "../backend.h"

#include <linux/uaccess.h>

int nested_check_state(const struct kvm_nested_state *head, u16 format, u16 flags)
{
	if (head->format != format || (head->flags & ~flags) || head->size < sizeof(*head))
		return -EINVAL;
	/* An entry that has begun is one into guest mode. */
	if ((head->flags & KVM_STATE_NESTED_RUN_PENDING) &&
	    !(head->flags & KVM_STATE_NESTED_GUEST_MODE))
		return -EINVAL;
	return 0;
}

static long get_nested_state(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct kvm_nested_state __user *user = (void __user *)raw;
	u32 size, need;
	int ret;

	if (!backend_caps.nested_state_size)
		return -ENOTTY;
	if (get_user(size, &user->size))
		return -EFAULT;
	need = backend_call(nested_get)(to_vcpu(vv), NULL);
	/* The size that would do is written even where there is not enough room. */
	if (put_user(need, &user->size))
		return -EFAULT;
	if (size < need)
		return -E2BIG;
	ret = backend_call(nested_get)(to_vcpu(vv), user);
	return ret < 0 ? ret : 0;
}

static long set_nested_state(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct kvm_nested_state __user *user = (void __user *)raw;
	struct kvm_nested_state head;

	if (!backend_caps.nested_state_size)
		return -ENOTTY;
	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	return backend_call(nested_set)(to_vcpu(vv), &head, user);
}

const struct ioctl_row nested_vcpu_ioctls[] = {
	{ KVM_GET_NESTED_STATE, IOCTL_RAW | IOCTL_LOAD | IOCTL_SRCU, .vcpu = get_nested_state },
	{ KVM_SET_NESTED_STATE, IOCTL_RAW | IOCTL_LOAD | IOCTL_SRCU, .vcpu = set_nested_state },
};
const unsigned int nested_nr_vcpu_ioctls = ARRAY_SIZE(nested_vcpu_ioctls);
