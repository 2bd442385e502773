// SPDX-License-Identifier: GPL-2.0
/*
 * The char device /dev/kvm and the system ioctls.
 */
#include "arch.h"
#include "ioctl.h"
#include "virt.h"

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

static long dev_api_version(void *data, unsigned long raw)
{
	return raw ? -EINVAL : KVM_API_VERSION;
}

static long dev_create_vm(void *data, unsigned long raw)
{
	return virt_vm_create(raw);
}

static long dev_check_extension(void *data, unsigned long raw)
{
	return arch_check_extension(NULL, raw);
}

static long dev_mmap_size(void *data, unsigned long raw)
{
	return raw ? -EINVAL : VIRT_RUN_PAGES * PAGE_SIZE;
}

static const struct ioctl_row rows[] = {
	{ KVM_GET_API_VERSION,		IOCTL_RAW, .dev = dev_api_version },
	{ KVM_CREATE_VM,		IOCTL_RAW, .dev = dev_create_vm },
	{ KVM_CHECK_EXTENSION,		IOCTL_RAW, .dev = dev_check_extension },
	{ KVM_GET_VCPU_MMAP_SIZE,	IOCTL_RAW, .dev = dev_mmap_size },
};

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct ioctl_row *row = ioctl_find(&dev_ioctls, cmd);
	IOCTL_STACK_BUFFER(stack);
	struct ioctl_buffer b;
	long ret;

	if (!row)
		return -ENOTTY;
	ret = ioctl_copy_in(&b, row, arg, stack);
	if (ret)
		return ret;
	ret = row->dev(b.data, arg);
	if (!ret)
		ret = ioctl_copy_out(&b, row, arg);
	ioctl_free(&b);
	return ret;
}

static struct file_operations dev_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= dev_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
};

static struct miscdevice dev = {
	.minor	= KVM_MINOR,
	.name	= "kvm",
	.fops	= &dev_fops,
};

int virt_dev_init(void)
{
	int ret = ioctl_table_add(&dev_ioctls, rows, ARRAY_SIZE(rows)) ?: virt_irqfd_module_init();

	if (ret)
		return ret;
	ret = misc_register(&dev);
	if (ret)
		virt_irqfd_module_exit();
	return ret;
}

void virt_dev_exit(void)
{
	misc_deregister(&dev);
	virt_irqfd_module_exit();
}
