// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory from the kernel: bounds come from the slots, pages from the VM's mm.
 *
 * Everything goes through userspace accessors, so that pages are faulted in, notifiers work, and a
 * file or a COW page stays right. The caller's thread runs in the VM's mm (every ioctl checks).
 */
#include "virt.h"

#include <linux/cache.h>
#include <linux/pagemap.h>
#include <linux/uaccess.h>

static unsigned int in_page(u64 gpa, unsigned int len)
{
	return min_t(unsigned int, len, PAGE_SIZE - offset_in_page(gpa));
}

static void __user *guest_address(struct virt_vcpu *v, u64 gpa, bool write, struct virt_slot **slot)
{
	*slot = virt_vcpu_slot(v, gpa >> PAGE_SHIFT);
	if (!*slot || (write && ((*slot)->flags & KVM_MEM_READONLY)))
		return NULL;
	return (void __user *)(virt_slot_hva(*slot, gpa >> PAGE_SHIFT) + offset_in_page(gpa));
}

int virt_guest_read(struct virt_vcpu *v, u64 gpa, void *buf, unsigned int len)
{
	while (len) {
		unsigned int n = in_page(gpa, len);
		struct virt_slot *slot;
		void __user *p = guest_address(v, gpa, false, &slot);

		if (!p || __copy_from_user(buf, p, n))
			return -EFAULT;
		gpa += n;
		buf += n;
		len -= n;
	}
	return 0;
}

int virt_guest_write(struct virt_vcpu *v, u64 gpa, const void *buf, unsigned int len)
{
	while (len) {
		unsigned int n = in_page(gpa, len);
		struct virt_slot *slot;
		void __user *p = guest_address(v, gpa, true, &slot);

		if (!p || __copy_to_user(p, buf, n))
			return -EFAULT;
		virt_mark_dirty(slot, gpa >> PAGE_SHIFT);
		gpa += n;
		buf += n;
		len -= n;
	}
	return 0;
}

int virt_guest_read_nofault(struct virt_vcpu *v, u64 gpa, void *buf, unsigned int len)
{
	struct virt_slot *slot;
	void __user *p = guest_address(v, gpa, false, &slot);
	unsigned long left;

	if (!p || in_page(gpa, len) < len)
		return -EFAULT;
	pagefault_disable();
	left = __copy_from_user_inatomic(buf, p, len);
	pagefault_enable();
	return left ? -EFAULT : 0;
}

int virt_guest_write_nofault(struct virt_vcpu *v, u64 gpa, const void *buf, unsigned int len)
{
	struct virt_slot *slot;
	void __user *p = guest_address(v, gpa, true, &slot);
	unsigned long left;

	if (!p || in_page(gpa, len) < len)
		return -EFAULT;
	pagefault_disable();
	left = __copy_to_user_inatomic(p, buf, len);
	pagefault_enable();
	if (left)
		return -EFAULT;
	virt_mark_dirty(slot, gpa >> PAGE_SHIFT);
	return 0;
}

static int user_cmpxchg(void __user *p, void *old, const void *new, unsigned int len)
{
	bool done = false;

	if (!user_access_begin(p, len))
		return -EFAULT;
	switch (len) {
	case 1:
		done = unsafe_try_cmpxchg_user((u8 __user *)p, (u8 *)old, *(const u8 *)new, fault);
		break;
	case 2:
		done = unsafe_try_cmpxchg_user((u16 __user *)p, (u16 *)old, *(const u16 *)new,
					       fault);
		break;
	case 4:
		done = unsafe_try_cmpxchg_user((u32 __user *)p, (u32 *)old, *(const u32 *)new,
					       fault);
		break;
	case 8:
		done = unsafe_try_cmpxchg_user((u64 __user *)p, (u64 *)old, *(const u64 *)new,
					       fault);
		break;
	}
	user_access_end();
	return done ? 0 : -EAGAIN;
fault:
	user_access_end();
	return -EFAULT;
}

bool virt_guest_atomic(u64 gpa, unsigned int len)
{
	unsigned int line = min_t(unsigned int, cache_line_size(), PAGE_SIZE);

	return len <= 8 && is_power_of_2(len) && (gpa & (line - 1)) + len <= line;
}

int virt_guest_cmpxchg(struct virt_vcpu *v, u64 gpa, void *old, const void *new, unsigned int len)
{
	struct virt_slot *slot;
	void __user *p;
	int ret;

	if (!virt_guest_atomic(gpa, len))
		return -EFAULT;
	p = guest_address(v, gpa, true, &slot);
	if (!p)
		return -EFAULT;
	ret = user_cmpxchg(p, old, new, len);
	if (!ret)
		virt_mark_dirty(slot, gpa >> PAGE_SHIFT);
	return ret;
}
